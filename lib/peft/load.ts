import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { check, fail } from '../errors.ts'
import { type Checkpoint, type FloatDtype, isFiniteData, openSafetensors } from '../io/safetensors.ts'
import type { Parameter } from '../nn/module.ts'
import { type AdapterConfig, readAdapterConfig } from './config.ts'
import { type AdapterInfo, readAdapterInfo } from './info.ts'
import type { Attached, Host } from './method.ts'
import { METHODS } from './registry.ts'

export interface LoadOptions {
  /** Whether it is to be trained on; else `trainable` is empty. Default false, as in PEFT. */
  trainable?: boolean
  /** What it is called on the model; a sub-folder of that name is taken where there is one. Default 'default'. */
  name?: string
  /** Accept that what neither checkpoint nor adapter holds (a pooler, say) stays newly initialised. Default false. */
  allowNew?: boolean
}

const floats: readonly string[] = ['F64', 'F32', 'BF16', 'F16'] satisfies FloatDtype[]

/** What PEFT writes under bias 'all' beside the biases of modules that are saved whole, without effect. */
const stray = /\.(modules_to_save|original_module)\.(.+\.)?bias$/

/**
 * Puts an adapter folder, PEFT's or ours, on a model. Its head, pooler and biases take the place of the model's.
 *
 * Nothing is loaded in part: all missing, unexpected and misshapen tensors, integers, NaN and infinities are one
 * ERR_CHECKPOINT. A config that is broken, for another task, family or other labels: ERR_CONFIG. A method or setting
 * that is not built here (DoRA, PiSSA, prompt tuning …): ERR_UNSUPPORTED.
 */
export function loadAdapter(model: Host, dir: string, options: LoadOptions = {}): Attached {
  const { name = 'default', trainable = false, allowNew = false } = options
  const folder = folderOf(dir, name)
  const config = readAdapterConfig(folder)
  checkBase(model, folder, readAdapterInfo(folder))
  const kind = METHODS.find(({ peftType }) => peftType === config.peftType)
  const built = METHODS.flatMap(({ peftType }) => peftType ?? []).join(', ')
  check(kind?.fromFile, 'ERR_UNSUPPORTED', () => {
    return `${config.path}: peft_type is "${config.peftType}", which is not built; ${built} is`
  })
  const file = openSafetensors(tensorFile(folder))
  try {
    const attached = kind.fromFile(model, config, file, { name, trainable })
    try {
      fill(model, attached, file, config)
      if (!allowNew) checkComplete(model, attached, folder)
      return attached
    } catch (error) {
      attached.detach()
      throw error
    }
  } finally {
    file.close()
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

function tensorFile(dir: string): string {
  const path = join(dir, 'adapter_model.safetensors')
  check(existsSync(path) || !existsSync(join(dir, 'adapter_model.bin')), 'ERR_UNSUPPORTED', () => {
    return `${dir}: holds adapter_model.bin, a pickle; save it with PEFT and safe_serialization=True`
  })
  return path
}

function checkBase({ config, labels }: Host, dir: string, info: AdapterInfo): void {
  check(!info.modelType || info.modelType === config.modelType, 'ERR_CONFIG', () => {
    return `${dir}: the adapter is for ${info.modelType}, the model is ${config.modelType}; load the base it was trained on`
  })
  if (!info.labels) return
  check(info.labels.join('\n') === labels.join('\n'), 'ERR_CONFIG', () => {
    return `${dir}: the adapter's labels are [${info.labels!.join(', ')}], the model's [${labels.join(', ')}]; load the model with the adapter's`
  })
}

function fill(model: Host, attached: Attached, file: Checkpoint, config: AdapterConfig): void {
  const expected = new Map(attached.tensors())
  const problems = [...mismatches(expected, file), ...unexpected(expected, file)]
  if (problems.length > 0) fail('ERR_CHECKPOINT', describe(model, file, config, problems))
  for (const [key, parameter] of expected) {
    const { dtype } = file.info(key)
    const bytes = file.read(key)
    if (!isFiniteData(bytes, dtype as FloatDtype)) problems.push(`${key} holds NaN or infinity`)
    if (model.device.name === 'meta') continue
    const isWide = parameter.tensor.dtype === 'f64' && dtype === 'F64'
    parameter.tensor.upload(isWide ? new Float64Array(bytes.slice().buffer) : file.readF32(key))
  }
  if (problems.length > 0) fail('ERR_CHECKPOINT', describe(model, file, config, problems))
}

/** PEFT leaves a new pooler random and unsaved: nobody can run such an adapter again. */
function checkComplete(model: Host, attached: Attached, dir: string): void {
  const restored = new Set([...attached.tensors()].map(([, { name }]) => name))
  const left = model.newTensors.filter(name => !restored.has(name))
  check(left.length === 0, 'ERR_CHECKPOINT', () => {
    return `${dir}: ${left.join(', ')} are neither in the checkpoint nor in the adapter; load the base it was trained on, or pass allowNew to train them anew`
  })
}

function mismatches(expected: ReadonlyMap<string, Parameter>, file: Checkpoint): string[] {
  return [...expected].flatMap(([key, { shape }]) => {
    const wanted = `[${shape.join(', ')}]`
    if (!file.has(key)) return [`missing ${key} ${wanted}`]
    const info = file.info(key)
    const found = `[${info.shape.join(', ')}]`
    if (found !== wanted) return [`misshapen ${key}: ${found}, expected ${wanted}`]
    return floats.includes(info.dtype) ? [] : [`${key}: dtype ${info.dtype}, expected ${floats.join(', ')}`]
  })
}

function unexpected(expected: ReadonlyMap<string, Parameter>, file: Checkpoint): string[] {
  return file.names().flatMap(key => {
    return expected.has(key) || stray.test(key) || isTiedCopy(key, file)
      ? []
      : [`unexpected ${key} [${file.info(key).shape.join(', ')}]`]
  })
}

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
  return [...names].reduce((most, name) => Math.max(most, Number(/\.(\d+)\./.exec(name)?.[1] ?? -1) + 1), 0)
}
