// Puts methods on models.

import { check } from '../errors.ts'
import { shown } from '../io/json.ts'
import { Parameter } from '../nn/module.ts'
import { checkOptions, SEED } from '../options.ts'
import { scope, Tensor } from '../tensor.ts'
import { Adapter, type Source } from './adapter.ts'
import { trainedDType } from './merging.ts'
import { type Host, type Method, modulesOf, type PlaceContext } from './method.ts'
import { taskTypeOf } from './task.ts'
import { newModules } from './wholeModules.ts'

/** How {@link attach} puts a method on a model. */
export interface AttachOptions {
  /** Tells several adapters of one model apart. Default 'default'. */
  name?: string | undefined
  /** Keys the initial values; each tensor's depend on its name and this alone. Default {@link SEED}. */
  seed?: number | undefined
}

/** Some of them: the registry, which knows all, is above this file. */
const METHOD_NAMES = 'lora(), dora(), ia3(), fullFineTuning() …'

/**
 * Puts a method on a model. Nothing of the model's output changes until something trains, except where the method's
 * options say so. Throws ERR_OPTION where targets match nothing, nothing would train, or the name is taken.
 */
export function attach<H extends Host>(model: H, method: Method, options: AttachOptions = {}): Adapter<H> {
  checkOptions('attach', options, { name: true, seed: true })
  const { name = 'default', seed = SEED } = options
  check(model?.linears !== undefined, 'ERR_OPTION', () => {
    return `attach: the first argument is no model; call attach(await loadModel(folder, { task }), lora())`
  })
  check(method?.kind !== undefined, 'ERR_OPTION', () => {
    return `attach: the method is ${shown(method)}; make one with ${METHOD_NAMES}`
  })
  check(Number.isSafeInteger(seed) && seed >= 0, 'ERR_OPTION', () => {
    return `seed: ${seed}, expected a whole number from 0 to 2^53 - 1`
  })
  const taskType = taskTypeOf(model.task)
  const names: readonly string[] = method.kind.fields.map(({ name }) => name)
  const whole = names.includes('modulesToSave') && { modulesToSave: modulesOf(method) ?? newModules(model, taskType) }
  return place(model, { ...method, options: { ...method.options, ...whole } }, name, { taskType, isStrict: true, seed })
}

/** Puts a method on a model as a folder describes it. */
export function attachFile<H extends Host>(model: H, method: Method, name: string, source: Source): Adapter<H> {
  return place(model, method, name, { taskType: source.taskType, isStrict: false }, source)
}

function place<H extends Host>(
  host: H,
  method: Method,
  name: string,
  settings: Pick<PlaceContext, 'taskType' | 'isStrict'> & { seed?: number },
  source?: Source,
): Adapter<H> {
  checkName(host, name)
  const made: Parameter[] = []
  const { taskType, isStrict, seed } = settings
  const context: PlaceContext = {
    ...{ name, taskType, isStrict },
    ...(source && { file: source.file }),
    constant: (shape, start) => create(host, made, '', shape, start),
    parameter: (full, shape, start) =>
      create(host, made, full, shape, seed === undefined ? undefined : () => start(seed, full)),
  }
  try {
    return new Adapter(host, method, name, method.kind.place(host, method.options, context), made, source)
  } catch (error) {
    for (const parameter of made) parameter.dispose()
    throw error
  }
}

/** Values, or a tensor that holds them. */
type Start = () => Float32Array | Tensor

function create(host: Host, made: Parameter[], name: string, shape: readonly number[], start?: Start): Parameter {
  const tensor = Tensor.empty(shape, { device: host.device, dtype: trainedDType(host.storage) })
  const parameter = new Parameter(name, tensor, true)
  made.push(parameter)
  if (!start || host.device.kind === 'meta') return parameter
  const values = scope<Float32Array | Tensor>(start)
  if (values instanceof Tensor) parameter.replace(values)
  else tensor.upload(values)
  return parameter
}

function checkName(host: Host, name: string): void {
  check(/^[A-Za-z0-9_-]+$/.test(name), 'ERR_OPTION', () => {
    return `attach: an adapter cannot be called ${shown(name)}; use letters, digits, _ and -`
  })
  check(!host.adapters.has(name), 'ERR_OPTION', () => {
    return `attach: the model has an adapter "${name}" already; detach that one, or give this one another name`
  })
}
