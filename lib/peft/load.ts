import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { check, fail } from '../errors.ts'
import { localFolder } from '../hub/folder.ts'
import {
  type Checkpoint,
  type FileRange,
  type FloatDtype,
  isFiniteData,
  openTorchFile,
  readSafetensors,
  type TensorInfo,
} from '../io/safetensors.ts'
import { isQuantized, type Parameter } from '../nn/module.ts'
import { keepOf } from '../ops/random.ts'
import { checkOptions } from '../options.ts'
import { isOneOf, isTexts, must, nth } from '../tuple.ts'
import type { Adapter, Source } from './adapter.ts'
import { readHub } from './adapterHub.ts'
import { attachFile } from './attach.ts'
import { type AdapterConfig, readAdapterConfig, settingsOfFile } from './config.ts'
import { isCopy, storedShape, turned } from './files.ts'
import { type AdapterInfo, readAdapterInfo } from './info.ts'
import { isTable, layerAt } from './layers.ts'
import type { Host, Method } from './method.ts'
import { METHODS } from './registry.ts'
import { layerNumber } from './targets.ts'
import { moduleName, taskOfPeftType, taskTypeOf } from './task.ts'
import { headsIn } from './wholeModules.ts'

/** How {@link loadAdapter} puts a folder on a model. */
export interface LoadOptions {
  /** Whether it is to be trained on; else `trainable` is empty. Default false, as in PEFT. */
  trainable?: boolean
  /** What it is called on the model; a sub-folder of that name is taken where there is one. Default 'default'. */
  name?: string
  /** Accept that what neither checkpoint nor adapter holds (a pooler, say) stays newly initialised. Default false. */
  allowNew?: boolean
}

const floats = ['F64', 'F32', 'BF16', 'F16'] as const satisfies FloatDtype[]

const floatOf = ({ dtype }: TensorInfo): FloatDtype[] => (isOneOf(floats, dtype) ? [dtype] : [])

/**
 * Puts an adapter folder, PEFT's or ours, or an adapter of the hub (`owner/name`), on a model. Its head, pooler and
 * biases take the place of the model's.
 *
 * Nothing is loaded in part: all missing, unexpected and misshapen tensors, integers, NaN and infinities are one
 * ERR_CHECKPOINT. A config that is broken, for another task, family or other labels: ERR_CONFIG. A method or setting
 * that is not built here: ERR_UNSUPPORTED.
 */
export async function loadAdapter<H extends Host>(
  model: H,
  dir: string,
  options: LoadOptions = {},
): Promise<Adapter<H>> {
  checkOptions('loadAdapter', options, { name: true, trainable: true, allowNew: true })
  check(typeof dir === 'string' && model?.linears !== undefined, 'ERR_OPTION', () => {
    return 'loadAdapter: expected a model and the path of a folder; call loadAdapter(model, folder)'
  })
  const { name = 'default', trainable = false, allowNew = false } = options
  const cure = 'name a folder with adapter_config.json, or an adapter of the hub (owner/name)'
  const folder = folderOf(await localFolder(dir, { option: 'loadAdapter', purpose: 'trained', cure }), name)
  const config = readAdapterConfig(folder)
  checkBase(model, folder, await readAdapterInfo(folder))
  const isHub = config.hubName !== undefined
  const file = isHub ? await readHub(model, folder, config) : await readTensors(folder)
  const keys = new KeyedFile(file, name)
  // Nothing waits while it is put on: who uses the model meanwhile sees the adapter whole or not at all.
  const adapter = attached(model, config, keys, { name, trainable })
  try {
    fill(model, adapter, keys, config)
    await checkBaseCopies(adapter, keys)
    if (!allowNew) checkComplete(model, adapter, folder)
    await begin(adapter)
    return adapter
  } catch (error) {
    adapter.detach()
    throw error
  }
}

/** Reads of the base what the file counts on, for few adapters; until that is done the model is as before. */
async function begin(adapter: Adapter): Promise<void> {
  if (adapter.isPrepared) return
  adapter.setActive(false)
  await adapter.prepare('filled')
  adapter.setActive(true)
}

/** Puts what the config describes on the model; its tensors still wait for their values. */
function attached<H extends Host>(
  model: H,
  config: AdapterConfig,
  file: KeyedFile,
  { name, trainable }: { name: string; trainable: boolean },
): Adapter<H> {
  const kind = METHODS.find(({ peftType }) => peftType === config.peftType)
  const built = [...new Set(METHODS.flatMap(({ peftType }) => peftType ?? []))].join(', ')
  check(kind, 'ERR_UNSUPPORTED', () => {
    return `${config.path}: peft_type is "${config.peftType}", which is not built; ${built} are`
  })
  const { options, taskType } = settingsOfFile(kind, config)
  check(!taskType || taskTypeOf(model.task) === taskType, 'ERR_CONFIG', () => {
    const task = taskOfPeftType(must(taskType, 'taskType'))
    const cure = task ? `load the model for ${task}` : 'no model of this package has that task'
    return `${config.path}: task_type is ${taskType}, the model does ${model.task}; ${cure}`
  })
  if (trainable && typeof options.dropout === 'number') keepOf(options.dropout, 'dropout')
  const modulesToSave = isTexts(options.modulesToSave) ? options.modulesToSave : []
  const heads = headsIn(model, file, modulesToSave, options.bias === 'all', taskType)
  const whole = 'modulesToSave' in options ? { modulesToSave: [...modulesToSave, ...heads] } : {}
  const method: Method = { type: kind.type, kind, options: { ...options, ...whole } }
  const fileDtypes = new Map(file.names().flatMap(key => floatOf(file.info(key)).map(dtype => [key, dtype] as const)))
  const source: Source = { config, taskType, file, fileDtypes, trainable }
  return attachFile(model, method, name, source)
}

/**
 * A file of tensors by the keys that PEFT writes now. PEFT also reads keys that hold the adapter's name
 * (`lora_A.default.weight`, `classifier.modules_to_save.default.weight`), as its models have them in memory.
 */
class KeyedFile implements Checkpoint {
  readonly path: string
  readonly #file: Checkpoint
  /** Keys of the file by PEFT's. */
  readonly #keys = new Map<string, string>()

  constructor(file: Checkpoint, name: string) {
    this.path = file.path
    this.#file = file
    for (const key of file.names()) {
      const inner = key.replace(`.modules_to_save.${name}.`, '.').replace(`.${name}.`, '.')
      const plain = inner.endsWith(`.${name}`) ? inner.slice(0, -name.length - 1) : inner
      this.#keys.set(file.has(plain) ? key : plain, key)
    }
  }

  names(): string[] {
    return [...this.#keys.keys()]
  }

  has(key: string): boolean {
    return this.#keys.has(key)
  }

  info(key: string): TensorInfo {
    return this.#file.info(this.#of(key))
  }

  read(key: string): Uint8Array {
    return this.#file.read(this.#of(key))
  }

  locate(key: string): FileRange {
    return this.#file.locate(this.#of(key))
  }

  readF32(key: string): Float32Array {
    return this.#file.readF32(this.#of(key))
  }

  close(): void {
    this.#file.close()
  }

  #of(key: string): string {
    return this.#keys.get(key) ?? key
  }
}

function folderOf(dir: string, name: string): string {
  if (!existsSync(join(dir, 'adapter_config.json'))) {
    if (existsSync(join(dir, name, 'adapter_config.json'))) return join(dir, name)
    check(!existsSync(join(dir, 'config.json')), 'ERR_CONFIG', () => {
      return `${dir}: is a whole model, not an adapter; give it to loadModel`
    })
  }
  return dir
}

/** The tensors of a folder: before 0.7 PEFT wrote them as a state dictionary of torch.save. */
function readTensors(dir: string): Promise<Checkpoint> {
  const [path, older] = [join(dir, 'adapter_model.safetensors'), join(dir, 'adapter_model.bin')]
  return !existsSync(path) && existsSync(older) ? readSafetensors(older, openTorchFile) : readSafetensors(path)
}

function checkBase({ config, labels }: Host, dir: string, info: AdapterInfo): void {
  // PEFT's files name the module of the model's class.
  const isSame = !info.modelType || moduleName(info.modelType) === moduleName(config.modelType)
  check(isSame, 'ERR_CONFIG', () => {
    return `${dir}: the adapter is for ${info.modelType}, the model is ${config.modelType}; load the base it was trained on`
  })
  if (!info.labels) return
  check(info.labels.join('\n') === labels.join('\n'), 'ERR_CONFIG', () => {
    return `${dir}: the adapter's labels are [${must(info.labels, 'labels').join(', ')}], the model's [${labels.join(', ')}]; load the model with the adapter's`
  })
}

function fill(model: Host, attached: Adapter, file: Checkpoint, config: AdapterConfig): void {
  const expected = new Map(attached.tensors())
  const problems = [...mismatches(expected, file), ...unexpected(expected, file, attached)]
  if (problems.length > 0) fail('ERR_CHECKPOINT', describe(model, file, config, problems))
  for (const [key, parameter] of expected) {
    const { dtype } = file.info(key)
    const bytes = file.read(key)
    if (!isFiniteData(bytes, dtype)) problems.push(`${key} holds NaN or infinity`)
    if (model.device.kind === 'meta') continue
    const isWide = parameter.tensor.dtype === 'f64' && dtype === 'F64'
    const values = isWide ? new Float64Array(bytes.slice().buffer) : file.readF32(key)
    parameter.tensor.upload(parameter.isTransposed ? upright(values, file.info(key).shape) : values)
  }
  if (problems.length > 0) fail('ERR_CHECKPOINT', describe(model, file, config, problems))
}

/** What files hold as [in, out], as layers do. */
function upright(values: Float32Array | Float64Array, shape: readonly number[]): Float32Array | Float64Array {
  const { buffer } = turned(values, shape).slice()
  return values instanceof Float64Array ? new Float64Array(buffer) : new Float32Array(buffer)
}

/** PEFT leaves a new pooler random and unsaved: nobody can run such an adapter again. */
function checkComplete(model: Host, attached: Adapter, dir: string): void {
  const restored = new Set([...attached.tensors()].map(([, { name }]) => name))
  const left = model.newTensors.filter(name => !restored.has(name))
  check(left.length === 0, 'ERR_CHECKPOINT', () => {
    return `${dir}: ${left.join(', ')} are neither in the checkpoint nor in the adapter; load the base it was trained on, or pass allowNew to train them anew`
  })
}

function mismatches(expected: ReadonlyMap<string, Parameter>, file: Checkpoint): string[] {
  return [...expected].flatMap(([key, parameter]) => {
    const wanted = `[${storedShape(parameter).join(', ')}]`
    if (!file.has(key)) return [`missing ${key} ${wanted}`]
    const info = file.info(key)
    const found = `[${info.shape.join(', ')}]`
    if (found !== wanted) return [`misshapen ${key}: ${found}, expected ${wanted}`]
    return isOneOf(floats, info.dtype) ? [] : [`${key}: dtype ${info.dtype}, expected ${floats.join(', ')}`]
  })
}

function unexpected(expected: ReadonlyMap<string, Parameter>, file: Checkpoint, attached: Adapter): string[] {
  return file.names().flatMap(key => {
    const isKnown = expected.has(key) || isStray(key, expected) || isTiedCopy(key, file)
    return isKnown || isCopy(file, key, attached.copies) || baseCopy(key, attached) !== undefined
      ? []
      : [`unexpected ${key} [${file.info(key).shape.join(', ')}]`]
  })
}

/** Copies without effect: of a head that is saved whole, PEFT may also write the original, or a bias twice. */
function isStray(key: string, expected: ReadonlyMap<string, Parameter>): boolean {
  const plain = [/\.(modules_to_save|original_module)\./, /\.modules_to_save\.[\w-]+\./].map(part =>
    key.replace(part, '.'),
  )
  return plain.some(each => each !== key && expected.has(each))
}

/** The base's own weight, which PEFT writes beside the factors of embed_tokens and lm_head. */
function baseCopy(key: string, { host, matched, copies }: Adapter): Parameter | undefined {
  const path = /^base_model\.model\.(.+)\.base_layer\.weight$/.exec(key)?.[1]
  const layer = path === undefined ? undefined : layerAt(host, path)
  const isOn = layer && (copies.size > 0 || matched.some(each => each.path === path))
  return isOn && (layer === host.output || isTable(layer)) ? layer.weight : undefined
}

/** @throws ERR_CHECKPOINT for a file with another base weight than the model's: PEFT would put it in its place */
async function checkBaseCopies(attached: Adapter, file: Checkpoint): Promise<void> {
  for (const key of file.names()) {
    const own = baseCopy(key, attached)?.own
    if (!own || isQuantized(own.dtype) || own.device.kind === 'meta') continue
    const [theirs, ours] = [file.readF32(key), await own.data()]
    // A base that is stored narrower was rounded.
    const tolerance = own.dtype === 'f32' || own.dtype === 'f64' ? 0 : 2 ** -8
    const isSame = theirs.length === ours.length && theirs.every((x, i) => near(x, nth(ours, i), tolerance))
    check(isSame, 'ERR_CHECKPOINT', () => {
      return `${file.path}: ${key} is not the model's; load the base it was trained on, whose vocabulary may have been resized`
    })
  }
}

const near = (x: number, y: number, tolerance: number) => Math.abs(x - y) <= tolerance * Math.abs(x)

/** The bias of a tied decoder, which PEFT writes under both its names. */
function isTiedCopy(key: string, file: Checkpoint): boolean {
  const other = key.replace(/\.decoder\.bias$/, '.bias')
  return other !== key && file.has(other) && Buffer.from(file.read(key)).equals(file.read(other))
}

function describe(model: Host, file: Checkpoint, config: AdapterConfig, problems: readonly string[]): string {
  const most = 40
  const shown = problems.slice(0, most).join('\n  ')
  const more = problems.length > most ? `\n  and ${problems.length - most} more` : ''
  const [theirs, ours] = [layersIn(file.names()), layersIn(model.linears.keys())]
  const layers = theirs > ours ? `the adapter has ${theirs} layers, the model ${ours}; ` : ''
  const count = `${problems.length} tensor${problems.length === 1 ? '' : 's'}`
  return (
    `loadAdapter: ${count} of ${file.path} do not fit ${config.path} and the model:\n  ${shown}${more}\n` +
    `${layers}load the base model it was trained on, for its task and number of labels`
  )
}

/** One more than the largest layer number in names. */
function layersIn(names: Iterable<string>): number {
  return [...names].reduce((most, name) => Math.max(most, (layerNumber(name) ?? -1) + 1), 0)
}
