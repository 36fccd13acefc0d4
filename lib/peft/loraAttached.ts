// LoRA on a model: its factors sit in the linear layers' slots, heads and biases in place of the model's own.

import { check, fail, nearest } from '../errors.ts'
import type { PyObject } from '../io/json.ts'
import type { FloatDtype } from '../io/safetensors.ts'
import type { Linear, LowRank } from '../nn/linear.ts'
import type { Parameter } from '../nn/module.ts'
import { add } from '../ops/add.ts'
import { matmul } from '../ops/matmul.ts'
import { scale } from '../ops/scale.ts'
import { scope, type Tensor } from '../tensor.ts'
import { type AdapterConfig, adapterRecord, type ResolvedLora, type TaskType } from './config.ts'
import type { Attached, Host, Matched, Method, Regularizer } from './method.ts'
import { transformersClass, transformersModule } from './task.ts'
import { cast, Substitution, trainedDType } from './whole.ts'
import { moduleOf } from './wholeModules.ts'

/** All that decides what is attached, and how it is saved. */
export interface Plan {
  readonly method: Method
  readonly host: Host
  readonly name: string
  readonly options: ResolvedLora
  readonly taskType: TaskType | undefined
  /** Every name must match something; false for a file of PEFT's, where one may not. */
  readonly isStrict: boolean
  /** The config it was loaded with. */
  readonly preserved?: AdapterConfig
  readonly fileDtypes?: ReadonlyMap<string, FloatDtype>
  readonly isFrozen?: boolean
}

type Factors = readonly [Linear, LowRank]

export class LoraAttached implements Attached {
  readonly method: Method
  readonly host: Host
  readonly name: string
  readonly matched: readonly Matched[]
  readonly trainable: readonly Parameter[]
  readonly regularizer: Regularizer | undefined
  readonly fileDtypes: ReadonlyMap<string, FloatDtype>
  readonly #plan: Plan
  readonly #factors: readonly Factors[]
  readonly #whole: Substitution
  #merged: Substitution | undefined
  #isActive = true

  /** `whole`: parameters of the model that are trained in full. */
  constructor(plan: Plan, factors: readonly Factors[], whole: readonly Parameter[]) {
    const { method, host, name, options } = plan
    this.method = method
    this.host = host
    this.name = name
    this.fileDtypes = plan.fileDtypes ?? new Map()
    this.#plan = plan
    this.#factors = factors
    const dtype = trainedDType(host.storage)
    this.#whole = new Substitution(whole, name, parameter => cast(parameter.tensor, dtype))
    for (const [linear, lowRank] of factors) linear.lowRank.push(lowRank)
    this.matched = factors.map(([{ path }, { a, scale }]) => ({ path, r: a.shape[0]!, scale }))
    const pairs = factors.flatMap(([, { a, b }]) => [a, b])
    this.trainable = plan.isFrozen ? [] : [...pairs, ...whole]
    const { regularizer: weight, regularizerKind: kind } = options
    this.regularizer = weight > 0 && !plan.isFrozen ? { weight, kind, parameters: pairs } : undefined
  }

  get isActive(): boolean {
    return this.#isActive
  }

  get isMerged(): boolean {
    return this.#merged !== undefined
  }

  *tensors(): Iterable<[string, Parameter]> {
    const targeted = new Set(this.#factors.map(([linear]) => linear.path))
    for (const [, { a, b }] of this.#factors)
      for (const factor of [a, b]) yield [`base_model.model.${factor.name}`, factor]
    for (const parameter of this.#whole.parameters) {
      const isWrapped = targeted.has(moduleOf(parameter.name))
      const name = isWrapped ? parameter.name.replace(/\.bias$/, '.base_layer.bias') : parameter.name
      yield [`base_model.model.${name}`, parameter]
    }
  }

  config(baseModel?: string): PyObject {
    const { host, options, taskType, preserved } = this.#plan
    return adapterRecord(
      options,
      {
        modelType: host.config.modelType,
        targets: this.matched.map(({ path }) => path),
        taskType,
        baseModelNameOrPath: baseModel ?? (preserved ? undefined : host.path),
        autoMapping: preserved
          ? undefined
          : { baseModelClass: transformersClass(host), parentLibrary: transformersModule(host) },
      },
      preserved,
    )
  }

  setActive(active: boolean): void {
    check(!this.#merged, 'ERR_OPTION', () => `setActive: adapter "${this.name}" is merged; unmerge it first`)
    this.#whole.set(active)
    for (const [, lowRank] of this.#factors) lowRank.active = active
    this.#isActive = active
  }

  deltaWeight(path: string): Tensor {
    const found = this.#factors.find(([linear]) => linear.path === path)
    const paths = this.matched.map(matched => matched.path)
    const [, lowRank] =
      found ??
      fail('ERR_OPTION', `deltaWeight: "${path}" carries no factors${nearest(path, paths)}; see attached.matched`)
    return delta(lowRank)
  }

  merge(): void {
    check(!this.#merged, 'ERR_OPTION', () => `merge: adapter "${this.name}" is merged already; unmerge it first`)
    check(this.#isActive, 'ERR_OPTION', () => `merge: adapter "${this.name}" is switched off; switch it on first`)
    const changes = new Map(this.#factors.map(([{ weight }, lowRank]) => [weight, lowRank]))
    const weights = [...changes.keys()]
    this.#merged = new Substitution(weights, this.name, weight => mergedWeight(weight.tensor, changes.get(weight)!))
    for (const [, lowRank] of this.#factors) lowRank.active = false
  }

  unmerge(): void {
    check(this.#merged, 'ERR_OPTION', () => `unmerge: adapter "${this.name}" is not merged`)
    this.#merged.end()
    this.#merged = undefined
    for (const [, lowRank] of this.#factors) lowRank.active = true
  }

  detach({ keep = false }: { keep?: boolean } = {}): void {
    const parameters = [...this.tensors()].map(([, parameter]) => parameter)
    const held = parameters.find(parameter => parameter.trains)
    check(!held, 'ERR_OPTION', () => `detach: an optimizer still trains ${held!.name}; dispose its arena first`)
    this.#merged?.end(keep)
    this.#merged = undefined
    this.#whole.end(keep)
    for (const [linear, lowRank] of this.#factors) {
      linear.lowRank.splice(linear.lowRank.indexOf(lowRank), 1)
      for (const factor of [lowRank.a, lowRank.b]) factor.dispose()
    }
    this.#isActive = false
  }
}

/** s B A, [out, in]. */
export function delta({ a, b, scale: s }: LowRank): Tensor {
  return scope(() => scale(matmul(b.tensor, a.tensor), s))
}

/** W + s B A, rounded once to the dtype of W; beside a quantised W it stays in the dtype that trains. */
export function mergedWeight(weight: Tensor, ...changes: LowRank[]): Tensor {
  return scope(() => {
    const [first] = changes
    let sum = cast(weight, first!.a.tensor.dtype)
    for (const change of changes) sum = add(sum, delta(change))
    const stays = sum.dtype === weight.dtype || weight.dtype === 'int8' || weight.dtype === 'nf4'
    return stays ? sum : cast(sum, weight.dtype)
  })
}
