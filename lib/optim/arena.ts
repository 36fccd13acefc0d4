import { check } from '../errors.ts'
import { native } from '../native.ts'
import type { Parameter } from '../nn/module.ts'
import { type Device, Tensor } from '../tensor.ts'

/** Slices begin at multiples of this many elements: 256 bytes of f32. */
const ALIGN = 64

export interface ArenaGroup {
  /** Multiplies the learning rate. Default 1. */
  lrScale?: number
  /** Multiplies the weight decay. Default 1. */
  decay?: number
}

/** Where a trained parameter lies, in elements. */
export interface Slice extends Required<ArenaGroup> {
  readonly parameter: Parameter
  readonly begin: number
  readonly end: number
}

/**
 * Everything that trains, as aligned slices of one buffer; gradients and both AdamW moments are laid out alike.
 * Zeroing, clipping, AdamW and checkpoints are then one kernel or one write each. Taking a parameter in moves its
 * memory here and makes it train.
 */
export class Arena {
  readonly slices: readonly Slice[]
  readonly params: Tensor
  readonly grads: Tensor
  readonly m: Tensor
  readonly v: Tensor
  /** f64 [slices, 4]: begin, end, learning-rate scale, decay. */
  readonly table: Tensor

  constructor(parameters: readonly Parameter[], device: Device, group: (p: Parameter) => ArenaGroup = () => ({})) {
    check(parameters.length > 0, 'ERR_OPTION', () => 'train: nothing trains; attach a method, or choose other targets')
    let end = 0
    this.slices = parameters.map(parameter => {
      const begin = Math.ceil(end / ALIGN) * ALIGN
      end = begin + parameter.size
      return { parameter, begin, end, lrScale: 1, decay: 1, ...group(parameter) }
    })
    const dtype = parameters[0]!.tensor.dtype === 'f64' ? 'f64' : 'f32'
    const zeros = () => Tensor.zeros([end], { device, dtype }).keep()
    this.params = zeros()
    this.grads = zeros()
    this.m = zeros()
    this.v = zeros()
    const rows = this.slices.flatMap(s => [s.begin, s.end, s.lrScale, s.decay])
    this.table = Tensor.from(Float64Array.from(rows), [this.slices.length, 4], { device }).keep()
    for (const { parameter, begin } of this.slices) this.#takeIn(parameter, begin)
  }

  #takeIn(parameter: Parameter, begin: number): void {
    const slice = this.params.view(begin, parameter.shape)
    native.copyInto(slice.handle, parameter.tensor.handle)
    slice.requiresGrad = true
    slice.grad = this.grads.view(begin, parameter.shape).keep()
    parameter.replace(slice)
  }

  /** Trained numbers, padding excluded. */
  get size(): number {
    return this.slices.reduce((sum, s) => sum + s.end - s.begin, 0)
  }

  zeroGrads(): void {
    native.fill(this.grads.handle, 0)
  }

  /** Σ g² over everything, shape [1]. */
  squaredGradNorm(): Tensor {
    return new Tensor(native.sumSquares(this.grads.handle))
  }

  /** Frees gradients and moments; the parameters stay in place and stop training. */
  dispose(): void {
    for (const { parameter } of this.slices) {
      parameter.tensor.requiresGrad = false
      parameter.tensor.grad?.dispose()
      parameter.tensor.grad = undefined
    }
    for (const tensor of [this.params, this.grads, this.m, this.v, this.table]) tensor.dispose()
  }
}
