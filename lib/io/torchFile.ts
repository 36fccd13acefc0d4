// pytorch_model.bin: a zip archive of a pickle, which says what the tensors are, and of their storages.

import { check, fail } from '../errors.ts'
import { must, nth, under } from '../tuple.ts'
import type { StorageDtype } from './dtype.ts'
import { PyCall, PyName, PyPersistent, readPickle } from './pickle.ts'
import { byteSize, type TensorInfo } from './safetensorsHeader.ts'
import { type ReadAt, type ZipEntry, zipEntries } from './zip.ts'

const dtypes: Readonly<Record<string, StorageDtype>> = {
  DoubleStorage: 'F64',
  FloatStorage: 'F32',
  HalfStorage: 'F16',
  BFloat16Storage: 'BF16',
  LongStorage: 'I64',
  IntStorage: 'I32',
  ShortStorage: 'I16',
  CharStorage: 'I8',
  ByteStorage: 'U8',
  BoolStorage: 'BOOL',
}
const tensorName = 'torch._utils._rebuild_tensor_v2'
const parameterName = 'torch._utils._rebuild_parameter'
const allowed = new Set([
  'collections.OrderedDict',
  tensorName,
  parameterName,
  ...Object.keys(dtypes).map(name => `torch.${name}`),
])
const longestPickle = 256 * 2 ** 20

/**
 * The tensors of a state dictionary that torch.save wrote, as ranges of the file; nothing in the pickle is run.
 * @throws ERR_UNSUPPORTED for files of before torch 1.6 and for what is no weights; ERR_CHECKPOINT for broken ones
 */
export function readTorchTensors(path: string, size: number, readAt: ReadAt): Map<string, TensorInfo> {
  const start = readAt(0, Math.min(size, 4))
  check(!(start[0] === 0x80 && start[1] === 2), 'ERR_UNSUPPORTED', () => {
    return `${path}: is in the format of torch before 1.6; load it in Python and save_pretrained it as safetensors`
  })
  check(
    start[0] === 0x50 && start[1] === 0x4b,
    'ERR_CHECKPOINT',
    () => `${path}: is no zip archive, so not of torch.save`,
  )
  const entries = zipEntries(path, size, readAt)
  const name = [...entries.keys()].find(key => /^[^/]+\/data\.pkl$/.test(key))
  check(name !== undefined, 'ERR_CHECKPOINT', () => `${path}: holds no data.pkl, so it is not of torch.save`)
  const root = name.slice(0, -'data.pkl'.length)
  const { position, bytes } = under(entries, name)
  check(bytes <= longestPickle, 'ERR_CHECKPOINT', () => `${path}: its pickle has ${bytes} bytes, too many for names`)
  const order = entries.get(`${root}byteorder`)
  const little = !order || Buffer.from(readAt(order.position, Math.min(order.bytes, 8))).toString() === 'little'
  check(little, 'ERR_UNSUPPORTED', () => `${path}: was written on a big-endian machine; save it as safetensors`)
  const value = readPickle(path, readAt(position, bytes), allowed)
  check(value instanceof Map, 'ERR_UNSUPPORTED', () => `${path}: holds no state dictionary of names and tensors`)
  const tensors = new Map<string, TensorInfo>()
  for (const [key, item] of value) {
    check(typeof key === 'string', 'ERR_CHECKPOINT', () => `${path}: a key of its state dictionary is no text`)
    const tensor = item instanceof PyCall && item.name === parameterName ? item.args[0] : item
    // Some dictionaries hold numbers beside the tensors; a model that needs them will miss them by name.
    if (tensor instanceof PyCall && tensor.name === tensorName)
      tensors.set(
        key,
        tensorOf(path, key, tensor.args, id => entries.get(`${root}data/${id}`)),
      )
  }
  check(tensors.size > 0, 'ERR_UNSUPPORTED', () => `${path}: its dictionary holds no tensors at its top level`)
  return tensors
}

function tensorOf(
  path: string,
  name: string,
  [storage, offset, shape, stride]: readonly unknown[],
  entryOf: (id: string) => ZipEntry | undefined,
): TensorInfo {
  const id = storage instanceof PyPersistent && Array.isArray(storage.id) ? storage.id : []
  const type = id[1] instanceof PyName ? id[1].name.replace('torch.', '') : ''
  const dtype = dtypes[type]
  const entry = typeof id[2] === 'string' ? entryOf(id[2]) : undefined
  check(dtype && entry, 'ERR_CHECKPOINT', () => `${path}: tensor "${name}" has no storage in the file`)
  check(isCounts(shape) && isCounts(stride) && isCounts([offset]), 'ERR_CHECKPOINT', () => {
    return `${path}: tensor "${name}" has a shape, a stride or an offset that is no count`
  })
  check(isContiguous(shape, stride), 'ERR_UNSUPPORTED', () => {
    return `${path}: tensor "${name}" [${shape}] has the strides [${stride}]; save it contiguous, as safetensors`
  })
  const bytes = byteSize(dtype, shape)
  const size = must(byteSize(dtype, [1]), 'byte size')
  const begin = entry.position + Number(offset) * size
  if (bytes === undefined || begin + bytes > entry.position + entry.bytes)
    fail(
      'ERR_CHECKPOINT',
      `${path}: tensor "${name}" [${shape}] takes more than the ${entry.bytes} bytes of its storage`,
    )
  return { name, dtype, shape, begin, end: begin + bytes }
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every(n => Number.isSafeInteger(n) && n >= 0)
}

/** Whether elements lie in C order without gaps. */
function isContiguous(shape: readonly number[], stride: readonly number[]): boolean {
  let wanted = 1
  if (shape.length !== stride.length) return false
  for (let i = shape.length - 1; i >= 0; i--) {
    if (shape[i] !== 1 && stride[i] !== wanted) return shape.includes(0)
    wanted *= nth(shape, i)
  }
  return true
}
