// Where LoRA's factors begin, beyond random A and zero B: in the weight itself (PiSSA, OLoRA), in what its quantisation
// lost (LoftQ), in what the layer reads (EVA).
//
// PiSSA and OLoRA begin as a part s B₀ A₀ of the weight, and the rest of it stays frozen: W − s B₀ A₀ + s B A. The
// weight stays as it is here; the update is s (B A − B₀ A₀), one pair of factors of twice the rank: [A; A₀], [B, −B₀].

import { concatRows } from '../autograd/rows.ts'
import { check } from '../errors.ts'
import { type Checkpoint, decodeF32, type TensorInMemory } from '../io/safetensors.ts'
import type { DType } from '../native.ts'
import { gatherColumns } from '../nn/columns.ts'
import { normal } from '../nn/init.ts'
import type { Linear, LinearAdapter } from '../nn/linear.ts'
import type { Parameter } from '../nn/module.ts'
import { add } from '../ops/add.ts'
import { cast } from '../ops/copy.ts'
import { matmul, matmulInner, transpose } from '../ops/matmul.ts'
import { QUANTIZED } from '../ops/quantize.ts'
import { scale } from '../ops/scale.ts'
import { scaleRows } from '../ops/scaleRows.ts'
import { copyOf, scope, Tensor } from '../tensor.ts'
import { isOneOf } from '../tuple.ts'
import { orthonormal, type TopSvd, topSvd } from './decompose.ts'
import { inverseCholesky, matrix, product, transposed } from './linearAlgebra.ts'
import { trainedDType } from './merging.ts'
import type { Host, Matched, PlaceContext } from './method.ts'

/** What `init_lora_weights` of PEFT's file may be here. */
export const STARTS = [
  true,
  false,
  'gaussian',
  'orthogonal',
  'olora',
  'pissa',
  'pissa_niter_2',
  'pissa_niter_4',
  'pissa_niter_8',
  'pissa_niter_16',
  'loftq',
  'eva',
] as const

/** How the factors start: one of `STARTS`. */
export type LoraStart = (typeof STARTS)[number]

/** Whether the factors begin as a part of the weight, which is taken out of it. */
export function takesPart(start: LoraStart): start is 'olora' | 'pissa' {
  return start === 'olora' || (typeof start === 'string' && start.startsWith('pissa'))
}

/** Whether the values are found after attaching, by reading weights or data. */
export const isFoundLater = (start: LoraStart): boolean => takesPart(start) || start === 'loftq' || start === 'eva'

/** A layer whose factors begin somewhere. */
export interface Begun {
  readonly linear: Linear
  readonly a: Parameter
  readonly b: Parameter
  readonly scale: number
  readonly adapter: LinearAdapter
  /** What is taken out of the weight; absent where nothing is. */
  readonly part?: StartFactors | undefined
}

/** What LoRA says of a layer. */
export function matchedAt({ path, r, scale }: { path: string; r: number; scale: number }): Matched {
  return { path, r, scale, text: `r ${r}, scale ${+scale.toPrecision(4)}` }
}

/** A₀ and B₀, beside factors that train. */
export class StartFactors {
  readonly #a: Parameter
  /** [0, −B₀], [out, 2r]. */
  readonly #b: Parameter
  /** [I, 0], [r, 2r]: widens B. */
  readonly #widen: Parameter
  /** As they are written. */
  #values = { A: new Float64Array(), B: new Float64Array() }

  constructor({ inFeatures, outFeatures }: Linear, r: number, context: PlaceContext) {
    this.#a = context.constant([r, inFeatures], () => new Float32Array(r * inFeatures))
    this.#b = context.constant([outFeatures, 2 * r], () => new Float32Array(2 * outFeatures * r))
    this.#widen = context.constant([r, 2 * r], () => unit(r))
  }

  /** Factors of the update; on the tape. */
  beside(a: Tensor, b: Tensor): { a: Tensor; b: Tensor } {
    return { a: concatRows([a, this.#a.tensor]), b: add(matmul(b, this.#widen.tensor), this.#b.tensor) }
  }

  /** Takes A₀ and B₀; on the device. */
  async take(a: Tensor, b: Tensor): Promise<void> {
    this.#a.replace(scope(() => copyOf(a)))
    this.#b.replace(
      scope(() => {
        const r = this.#widen.rows
        const right = Tensor.from(unit(r, r), [r, 2 * r], { device: b.device, dtype: b.dtype })
        return scale(matmul(b, right), -1)
      }),
    )
    const [va, vb] = await Promise.all([a.data(), b.data()])
    this.#values = { A: Float64Array.from(va), B: Float64Array.from(vb, x => -x) }
  }

  /** A tensor of PEFT's file, twice the rank. */
  written(tensor: TensorInMemory, which: 'A' | 'B'): TensorInMemory {
    const [rows = 0, columns = 0] = tensor.shape
    const view = tensor.data
    const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
    // Half the values are no rounded ones, whatever the others were read as.
    const dtype = tensor.dtype === 'F64' ? 'F64' : 'F32'
    const own = dtype === 'F64' ? new Float64Array(bytes.slice().buffer) : decodeF32(bytes, tensor.dtype)
    const joined = dtype === 'F64' ? new Float64Array(2 * own.length) : new Float32Array(2 * own.length)
    const frozen = this.#values[which]
    // A is one block above the other, B one beside the other.
    const [blocks, size] = which === 'A' ? [1, own.length] : [rows, columns]
    for (let i = 0; i < blocks; i++) {
      joined.set(own.subarray(i * size, (i + 1) * size), 2 * i * size)
      joined.set(frozen.subarray(i * size, (i + 1) * size), (2 * i + 1) * size)
    }
    const shape = which === 'A' ? [2 * rows, columns] : [rows, 2 * columns]
    return { ...tensor, dtype, shape, data: new Uint8Array(joined.buffer) }
  }
}

/** [I, 0], [r, 2r], with the unit matrix `at` columns further right. */
function unit(r: number, at = 0): Float32Array {
  const out = new Float32Array(2 * r * r)
  for (let i = 0; i < r; i++) out[2 * r * i + at + i] = 1
  return out
}

/**
 * Finds the values of one layer. With `isFilled` those that train come from elsewhere, a file or another adapter, and
 * only what is taken out of the weight is found. `source`, of loftq alone: the base as it was before it was quantised.
 */
export async function begin(
  host: Host,
  start: LoraStart,
  layer: Begun,
  isFilled: boolean,
  source?: Checkpoint,
): Promise<void> {
  if (!takesPart(start) && !source) return
  const { linear, part } = layer
  const { own } = linear.weight
  const dtype = trainedDType(host.storage)
  const weight = source ? lost(source, linear, dtype) : scope(() => cast(own, dtype))
  try {
    const { a, b } = await (start === 'olora' ? leading(weight, layer) : principal(weight, layer, passesOf(start)))
    await part?.take(a, b)
    for (const [parameter, value] of [
      [layer.a, a],
      [layer.b, b],
    ] as const) {
      if (isFilled) value.dispose()
      else parameter.replace(value)
    }
  } finally {
    if (weight !== own) weight.dispose()
  }
}

/** What quantising lost is near noise, where no direction stands out: so many find 0.99 of what the best would. */
const LOFTQ_PASSES = 8

const passesOf = (start: LoraStart): number | undefined => {
  if (start === 'loftq') return LOFTQ_PASSES
  const [, passes] = /_niter_(\d+)$/.exec(String(start)) ?? []
  return passes === undefined ? undefined : Number(passes)
}

interface FactorPair {
  readonly a: Tensor
  readonly b: Tensor
}

/** s B A = the best approximation of w at this rank; A and B have equal singular values (Meng et al. 2024). */
async function principal(w: Tensor, { a, scale: s, linear }: Begun, iterations?: number): Promise<FactorPair> {
  const found: TopSvd = await topSvd(w, a.rows, { iterations, seed: 0, name: linear.path })
  const roots = Float64Array.from(found.values, value => Math.sqrt(value / s))
  const scaled = (rows: Tensor) => {
    const by = Tensor.from(roots, [roots.length], { device: w.device, dtype: w.dtype })
    return scaleRows(rows, by)
  }
  const pair = { a: scope(() => scaled(found.vt)), b: scope(() => transpose(scaled(transpose(found.u)))) }
  for (const each of [found.u, found.vt]) each.dispose()
  return pair
}

/** B A = Q R of the first r columns of Q: an orthonormal base of the first r columns of w (Büyükakyüz 2024). */
async function leading(w: Tensor, { a }: Begun): Promise<FactorPair> {
  const r = a.rows
  const columns = scope(() => {
    const [first] = gatherColumns(w, [{ start: 0, width: r, period: w.columns }])
    return copyOf(first, w.dtype)
  })
  const q = await orthonormal(columns)
  return { a: scope(() => matmulInner(q, w)), b: q }
}

/** W of the checkpoint less what is kept of it. */
function lost(source: Checkpoint, { weight, path }: Linear, dtype: DType): Tensor {
  const [name, ...others] = source.names().filter(each => each === weight.name || weight.name.endsWith(`.${each}`))
  check(name !== undefined && others.length === 0, 'ERR_UNSUPPORTED', () => {
    return `loftq: ${source.path} holds no tensor ${weight.name} that ${path} alone is read from; take pissa`
  })
  const shape = weight.isTransposed ? [weight.columns, weight.rows] : weight.shape
  return scope(() => {
    const kept = copyOf(weight.own, dtype)
    const stored = Tensor.from(source.readF32(name), shape, { device: kept.device, dtype })
    return add(weight.isTransposed ? transpose(stored) : stored, scale(kept, -1))
  })
}

/** @throws ERR_OPTION where a start does not fit the base */
export function checkStart(host: Host, start: LoraStart): void {
  if (start !== 'loftq') return
  check(isOneOf(QUANTIZED, host.storage), 'ERR_OPTION', () => {
    return `initLoraWeights: loftq begins with what quantising lost, and the base is stored as ${host.storage}; load it with storage nf4 or int8`
  })
  check(host.path !== undefined, 'ERR_OPTION', () => {
    return 'initLoraWeights: loftq reads the weights before they were quantised, and the base was made from a config; take pissa'
  })
}

/** A or B with B A = 0 and neither of them zero: both along halves of one orthogonal matrix, as PEFT's. */
export function orthogonalStart(
  which: 'A' | 'B',
  [rows, columns]: readonly [number, number],
  seed: number,
  name: string,
) {
  const r = which === 'A' ? rows : columns
  const size = which === 'A' ? columns : rows
  check(r % 2 === 0, 'ERR_OPTION', () => `initLoraWeights: orthogonal halves the rank, and r is ${r}; take an even one`)
  const shared = name.replace(/\.lora_[AB]\.weight$/, '.lora_orthogonal')
  const drawn = matrix(r, r, normal(r * r, 1, seed, shared))
  const square = product(drawn, inverseCholesky(product(transposed(drawn), drawn)))
  const first = which === 'A' ? 0 : 1
  const half = matrix(
    r / 2,
    r,
    Float64Array.from({ length: (r * r) / 2 }, (_, at) => {
      return square.data[(2 * Math.floor(at / r) + first) * r + (at % r)] ?? 0
    }),
  )
  const spread = product(matrix(size, r / 2, normal((size * r) / 2, 0.1, seed, name)), half)
  return Float32Array.from((which === 'A' ? transposed(spread) : spread).data)
}
