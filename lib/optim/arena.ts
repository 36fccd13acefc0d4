import { check } from '../errors.ts'
import { type DType, native } from '../native.ts'
import type { Parameter } from '../nn/module.ts'
import { copyInto, type Device, Tensor } from '../tensor.ts'
import { must, nth } from '../tuple.ts'

/** How AdamW keeps its moments: in the type of the parameters, or as 8-bit codes with a scale a block of 256. */
export const STATES = ['f32', '8bit'] as const

/** How the two moments are stored: `8bit` in blocks of 256 numbers, each with a scale (Dettmers et al. 2022). */
export type States = (typeof STATES)[number]

/** Slices begin at multiples of this many elements: 256 bytes of f32, or a block of 8-bit moments. */
const ALIGN = { f32: 64, '8bit': 256 }
const STATE_BLOCK = 256

/** How one parameter's rate and decay differ from the run's. */
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
  /** First and second moments; u8 codes where `scales` is set. */
  readonly m: Tensor
  readonly v: Tensor
  /** f32, one for every 256 elements. */
  readonly scales: { readonly m: Tensor; readonly v: Tensor } | undefined
  /** f64 [slices, 4]: begin, end, learning-rate scale, decay. */
  readonly table: Tensor

  constructor(
    parameters: readonly Parameter[],
    device: Device,
    group: (p: Parameter) => ArenaGroup = () => ({}),
    states: States = 'f32',
  ) {
    check(parameters.length > 0, 'ERR_OPTION', () => 'train: nothing trains; attach a method, or choose other targets')
    const taken = parameters.find(parameter => parameter.trains)
    check(!taken, 'ERR_OPTION', () => {
      return `train: ${must(taken, 'taken').name} is in training already; wait for that run to end, or attach another adapter`
    })
    let end = 0
    this.slices = parameters.map(parameter => {
      const begin = Math.ceil(end / ALIGN[states]) * ALIGN[states]
      end = begin + parameter.size
      return { parameter, begin, end, lrScale: 1, decay: 1, ...group(parameter) }
    })
    const dtype = nth(parameters, 0).tensor.dtype === 'f64' ? 'f64' : 'f32'
    const zeros = (size: number, type: DType) => Tensor.zeros([size], { device, dtype: type }).keep()
    const narrow = states === '8bit'
    const scales = () => zeros(Math.ceil(end / STATE_BLOCK), 'f32')
    this.params = zeros(end, dtype)
    this.grads = zeros(end, dtype)
    this.m = zeros(end, narrow ? 'u8' : dtype)
    this.v = zeros(end, narrow ? 'u8' : dtype)
    this.scales = narrow ? { m: scales(), v: scales() } : undefined
    const rows = this.slices.flatMap(s => [s.begin, s.end, s.lrScale, s.decay])
    this.table = Tensor.from(Float64Array.from(rows), [this.slices.length, 4], { device }).keep()
    for (const { parameter, begin } of this.slices) this.#takeIn(parameter, begin)
  }

  #takeIn(parameter: Parameter, begin: number): void {
    const slice = this.params.view(begin, parameter.shape)
    copyInto(slice, parameter.tensor)
    slice.requiresGrad = true
    slice.grad = this.grads.view(begin, parameter.shape).keep()
    parameter.replace(slice)
  }

  /** Trained numbers, padding excluded. */
  get size(): number {
    return this.slices.reduce((sum, s) => sum + s.end - s.begin, 0)
  }

  /** Of parameters, gradients and moments. */
  get bytes(): number {
    const width = (dtype: DType) => (dtype === 'f64' ? 8 : dtype === 'u8' ? 1 : 4)
    const counted = this.#tensors().filter(tensor => tensor !== this.table)
    return counted.reduce((sum, { size, dtype }) => sum + size * width(dtype), 0)
  }

  #tensors(): Tensor[] {
    const { params, grads, m, v, table, scales } = this
    return [params, grads, m, v, table, ...(scales ? [scales.m, scales.v] : [])]
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
    for (const tensor of this.#tensors()) tensor.dispose()
  }
}
