import { check } from '../errors.ts'
import { native } from '../native.ts'
import { checkOptions, type OptionsOf } from '../options.ts'
import type { Tensor } from '../tensor.ts'
import type { Arena } from './arena.ts'

/** Settings of {@link AdamW} (Loshchilov and Hutter 2019), under the names and defaults of PyTorch. */
export interface AdamWOptions {
  beta1?: number
  beta2?: number
  eps?: number
  /** Decoupled: p -= lr · weightDecay · p. Default 0.01, as PyTorch. */
  weightDecay?: number
  /** Largest global gradient norm; 0 is off. Default 1. */
  clip?: number
}

/** Names of {@link AdamWOptions}. */
export const ADAMW_OPTIONS: OptionsOf<AdamWOptions> = {
  ...{ beta1: true, beta2: true, eps: true, weightDecay: true, clip: true },
}

/** AdamW (Loshchilov & Hutter 2017) with global norm clipping, in one kernel over the arena. */
export class AdamW {
  readonly arena: Arena
  readonly options: Required<AdamWOptions>
  /** Steps done. */
  steps = 0

  constructor(arena: Arena, options: AdamWOptions = {}) {
    checkOptions('AdamW', options, ADAMW_OPTIONS)
    this.arena = arena
    this.options = { beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01, clip: 1, ...options }
    const { beta1, beta2, eps, weightDecay, clip } = this.options
    for (const [name, beta] of [
      ['beta1', beta1],
      ['beta2', beta2],
    ] as const)
      check(beta >= 0 && beta < 1, 'ERR_OPTION', () => `${name}: ${beta}, expected 0 to below 1`)
    check(eps > 0, 'ERR_OPTION', () => `eps: ${eps}, expected more than 0`)
    check(weightDecay >= 0, 'ERR_OPTION', () => `weightDecay: ${weightDecay}, expected 0 or more`)
    check(clip >= 0, 'ERR_OPTION', () => `clip: ${clip}, expected 0 (off) or more`)
  }

  /** Updates every parameter from the gradients in the arena. Returns their squared norm before clipping, shape [1]. */
  step(lr: number): Tensor {
    const { params, grads, m, v, scales, table } = this.arena
    const { beta1, beta2, eps, weightDecay, clip } = this.options
    const squaredNorm = this.arena.squaredGradNorm()
    const struct = Float64Array.of(lr, beta1, beta2, eps, weightDecay, clip, ++this.steps)
    const [p, g, first, second] = [params.handle, grads.handle, m.handle, v.handle]
    const [slices, norm] = [table.handle, squaredNorm.handle]
    if (scales) native.adamw8(p, g, first, second, scales.m.handle, scales.v.handle, slices, norm, struct)
    else native.adamw(p, g, first, second, slices, norm, struct)
    return squaredNorm
  }
}
