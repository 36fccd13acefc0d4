// LoRA (Hu et al. 2021): y = x W^T + b + s · drop(x) A^T B^T with W frozen, A [r, in], B [out, r].

import { check } from '../errors.ts'
import type { Checkpoint, FloatDtype } from '../io/safetensors.ts'
import { normal, uniform } from '../nn/init.ts'
import type { Linear, LowRank } from '../nn/linear.ts'
import { Parameter } from '../nn/module.ts'
import { keepOf, site } from '../ops/random.ts'
import { Tensor } from '../tensor.ts'
import {
  type AdapterConfig,
  type LoraOptions,
  loraFromConfig,
  type ResolvedLora,
  resolveLora,
  type TaskType,
} from './config.ts'
import { LoraAttached, type Plan } from './loraAttached.ts'
import type { Attached, Host, Method } from './method.ts'
import { type MatchedTarget, matchTargets } from './targets.ts'
import { taskOf, taskTypeOf } from './task.ts'
import { trainedDType } from './whole.ts'
import { biasParameters, moduleOf, newModules, savedWhole } from './wholeModules.ts'

/**
 * Low-rank adaptation; docs/methods.md has the formula of every option.
 *
 * The head of the task, and every module whose weights the checkpoint lacked, are trained in full and saved with the
 * adapter: PEFT leaves a new pooler random and frozen. `modulesToSave`, where given, names all that is trained in full
 * beside the head. Attaching changes no output until something is trained, except under `initLoraWeights: false` and
 * for dropout, which is active in training only.
 *
 * Throws ERR_OPTION for an option that is unknown, of the wrong kind or out of range; `attach` for what does not fit
 * the model.
 */
export function lora(options: LoraOptions = {}): Method {
  const resolved = resolveLora(options)
  keepOf(resolved.dropout)
  const method: Method = {
    type: 'lora',
    attach: (host, name = 'default', { seed = 0 } = {}) => {
      const taskType = taskTypeOf(host.task)
      const modulesToSave = options.modulesToSave ?? newModules(host, taskType)
      const plan: Plan = { method, host, name, taskType, options: { ...resolved, modulesToSave }, isStrict: true }
      return attachLora(plan, seed)
    },
  }
  return method
}

/** LoRA as a file describes it, with tensors that are yet to be read. */
export function loraFromFile(
  host: Host,
  config: AdapterConfig,
  file: Checkpoint,
  { name, trainable }: { name: string; trainable: boolean },
): Attached {
  const { options, taskType } = loraFromConfig(config)
  check(!taskType || taskTypeOf(host.task) === taskType, 'ERR_CONFIG', () => {
    const task = taskOf(taskType!)
    const cure = task ? `load the model for ${task}` : 'no model of this package has that task'
    return `${config.path}: task_type is ${taskType}, the model does ${host.task}; ${cure}`
  })
  if (trainable) keepOf(options.dropout, 'lora_dropout')
  const modulesToSave = [...options.modulesToSave, ...headsIn(host, file, options, taskType)]
  const method: Method = { type: 'lora', attach: (other, as, more) => lora(options).attach(other, as, more) }
  return attachLora({
    method,
    host,
    name,
    taskType,
    options: { ...options, modulesToSave },
    isStrict: false,
    preserved: config,
    fileDtypes: new Map(file.names().map(key => [key, file.info(key).dtype as FloatDtype])),
    isFrozen: !trainable,
  })
}

/** Modules of the head, or new in this model, that the file holds although its config does not name them. */
function headsIn(host: Host, file: Checkpoint, options: ResolvedLora, taskType: TaskType | undefined): string[] {
  const named = new Set(savedWhole(host, options.modulesToSave, taskType, false))
  const found = [...host.parameters.values()].filter(p => {
    const isHead = p.isNew || host.headModules.some(head => p.name.startsWith(`${head}.`))
    // Under `bias: all` the biases of a head that is not saved whole are there too.
    const isBias = options.bias === 'all' && p.name.endsWith('.bias')
    return isHead && !isBias && !named.has(p) && file.has(`base_model.model.${p.name}`)
  })
  return [...new Set(found.map(p => moduleOf(p.name)))]
}

function attachLora(plan: Plan, seed?: number): LoraAttached {
  const { host, name, options, taskType, isStrict } = plan
  checkName(host, name)
  check(seed === undefined || (Number.isSafeInteger(seed) && seed >= 0), 'ERR_OPTION', () => {
    return `seed: ${seed}, expected a whole number from 0 to 2^53 - 1`
  })
  const saved = savedWhole(host, options.modulesToSave, taskType, isStrict)
  const targets = match(plan)
  const biases = biasParameters(host, options.bias, new Set(targets.map(target => target.path)))
  const whole = [...new Set([...saved, ...biases])]
  const factors: [Linear, LowRank][] = []
  try {
    for (const target of targets) {
      const linear = host.linears.get(target.path)!
      factors.push([linear, lowRank(plan, linear, target, seed)])
    }
    return new LoraAttached(plan, factors, whole)
  } catch (error) {
    for (const [, { a, b }] of factors) for (const factor of [a, b]) factor.dispose()
    throw error
  }
}

function match({ host, options, taskType, isStrict }: Plan): MatchedTarget[] {
  const infos = [...host.linears.values()].map(linear => ({
    path: linear.path,
    in: linear.inFeatures,
    out: linear.outFeatures,
    isHead: host.headModules.some(head => linear.path === head || linear.path.startsWith(`${head}.`)),
  }))
  return matchTargets(infos, options, { modelType: host.config.modelType, taskType, strict: isStrict })
}

function checkName(host: Host, name: string): void {
  check(/^[A-Za-z0-9_-]+$/.test(name), 'ERR_OPTION', () => {
    return `attach: an adapter cannot be called ${JSON.stringify(name)}; use letters, digits, _ and -`
  })
  for (const { lowRank, adapters } of host.linears.values())
    check(![...lowRank, ...adapters].some(other => other.name === name), 'ERR_OPTION', () => {
      return `attach: the model has an adapter "${name}" already; detach that one, or give this one another name`
    })
}

/** The factors of one layer; without a seed their memory waits for the values of a file. */
function lowRank({ host, name, options }: Plan, linear: Linear, target: MatchedTarget, seed?: number): LowRank {
  const { path, inFeatures, outFeatures } = linear
  const { r, scale } = target
  const make = (which: 'A' | 'B', shape: [number, number]) => {
    const full = `${path}.lora_${which}.weight`
    const tensor = Tensor.empty(shape, { device: host.device, dtype: trainedDType(host.storage) })
    const parameter = new Parameter(full, tensor, true)
    if (seed !== undefined && host.device.name !== 'meta')
      tensor.upload(initial(which, shape, r, options.initLoraWeights, seed, full))
    return parameter
  }
  const a = make('A', [r, inFeatures])
  const b = make('B', [outFeatures, r])
  const { dropout, exact } = options
  return { name, a, b, scale, dropout, exact, site: site(path, 'lora'), active: true }
}

/** PyTorch's Kaiming uniform with a = √5, as for its linear layers: within ±1/√fan-in. */
function initial(
  which: 'A' | 'B',
  shape: [number, number],
  r: number,
  init: ResolvedLora['initLoraWeights'],
  seed: number,
  name: string,
): Float32Array {
  const size = shape[0] * shape[1]
  if (which === 'B' && init !== false) return new Float32Array(size)
  if (which === 'A' && init === 'gaussian') return normal(size, 1 / r, seed, name)
  return uniform(size, 1 / Math.sqrt(shape[1]), seed, name)
}
