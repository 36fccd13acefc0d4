// The addon: the one typed picture of it. tensor.ts, autograd/, ops/ and optim/ call its kernels, and check/ as they
// do; the rest asks it for facts alone.

import { loadAddon } from './addon.ts'
import { LowrankError } from './errors.ts'

/** A tensor on the other side of the fence: slot and generation in one number. 0 is no tensor. */
export type Handle = number & { readonly __brand: 'Handle' }
/** Numbers of a native struct, in the order given at each op; null for no dropout. */
export type Struct = Float64Array

/** Blocks of quantised weights in GGUF files, as ggml names them. */
export const BLOCKS = ['q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0', 'q2_k', 'q3_k', 'q4_k', 'q5_k', 'q6_k'] as const

/**
 * Element types. f32, f64, bf16 and i32 have kernels; the rest is storage. int8, nf4 and {@link BLOCKS} are quantised
 * matrices.
 */
export const DTYPES = ['f32', 'f64', 'bf16', 'i32', 'f16', 'u8', 'i64', 'int8', 'nf4', ...BLOCKS] as const

/** Element types of tensors; from int8 on they hold frozen weights alone. */
export type DType = (typeof DTYPES)[number]

/** Bytes of a device's stream-ordered pool; `scratch`: kernel scratch of the process, on CUDA part of the pool. */
export interface MemoryUse {
  live: number
  peak: number
  reserved: number
  scratch: number
}

export interface NativeInfo {
  isa: string
  threads: number
  cuda: {
    built: boolean
    count: number
    reason: string
    driver?: number
    runtime?: number
    devices?: { name: string; capability: string; memory: number }[]
  }
}

type AttentionGradient<Bias> = [
  dy: Handle,
  q: Handle,
  k: Handle,
  v: Handle,
  o: Handle,
  lse: Handle,
  cuSeqlens: Handle,
  keySeqlens: Handle | 0,
  bias: Bias,
  shape: Struct,
  dropout: Struct | null,
]

interface Native {
  initialize(error: typeof LowrankError): void
  info(): NativeInfo
  setThreads(count: number): void
  openDevice(kind: string, index: number): number
  wait(device: number): Promise<void>
  reset(device: number): void
  memory(device: number): MemoryUse
  resetPeak(device: number): void
  trim(device: number): void
  /** Whether the meta device counts what CUDA's kernels would take, where this machine has a GPU. */
  planFor(device: number, cuda: boolean): void
  /** Kernels that the work handed over to a CUDA device, or to the meta device planned for one, launches. */
  launches(device: number): number
  /** What `runConformance` can run, in order; `runs`: whether this GPU has the instructions. */
  conformanceCases(device: number): { name: string; runs: boolean }[]
  /** Enqueues a case; where it fails, waiting does. */
  runConformance(device: number, index: number): void

  empty(device: number, dtype: number, shape: readonly number[]): Handle
  view(x: Handle, offset: number, shape: readonly number[]): Handle
  upload(x: Handle, bytes: NodeJS.TypedArray, dtype: number): void
  /** False, and nothing uploaded, where a float is NaN or infinite. */
  uploadFile(x: Handle, file: number, position: number, bytes: number, fileSize: number, dtype: number): boolean
  read(x: Handle): Promise<ArrayBuffer>
  shape(x: Handle): number[]
  dtype(x: Handle): number
  byteLength(x: Handle): number
  deviceOf(x: Handle): number
  drop(x: Handle): void
  live(): number

  fill(y: Handle, value: number): void
  cast(x: Handle, dtype: number): Handle
  copyInto(y: Handle, x: Handle): void
  quantize(x: Handle, dtype: number): Handle
  dequantize(w: Handle, dtype: number): Handle
  add(a: Handle, b: Handle): Handle
  multiply(a: Handle, b: Handle): Handle
  scaleColumns(x: Handle, v: Handle, bias: Handle | 0): Handle
  /** Overwrites dy with dx; returns dv. */
  scaleColumnsBackward(dy: Handle, x: Handle, v: Handle, needsDx: boolean, needsDv: boolean): Handle | 0
  inverseNorms(squares: Handle, wa: Handle, gram: Handle, b: Handle, scale: number): Handle
  accumulate(y: Handle, x: Handle, alpha: number): void
  /** y += x of each pair. */
  accumulateAll(y: readonly Handle[], x: readonly Handle[]): void
  scale(x: Handle, alpha: number): Handle
  activation(x: Handle, kind: number): Handle
  activationBackward(dy: Handle, x: Handle, kind: number): void
  gatedActivation(gate: Handle, up: Handle, kind: number): Handle
  gatedActivationBackward(dy: Handle, gate: Handle, up: Handle, kind: number): Handle
  log1mexp(x: Handle): Handle
  log1mexpBackward(dy: Handle, x: Handle): Handle
  dropout(x: Handle, dropout: Struct | null): Handle
  sumRows(x: Handle): Handle
  sum(x: Handle): Handle
  sumSquares(x: Handle): Handle
  matmul(a: Handle, b: Handle, transposeA: boolean, transposeB: boolean, compute: number, dtype: number): Handle
  /** With positions and table, y is turned as `rope` turns it; they are 0 otherwise. */
  linear(
    x: Handle,
    w: Handle,
    bias: Handle | 0,
    compute: number,
    positions: Handle | 0,
    table: Handle | 0,
    headDim: number,
    interleaved: boolean,
  ): Handle
  loraLinear(
    x: Handle,
    w: Handle,
    bias: Handle | 0,
    a: Handle,
    b: Handle,
    scale: number,
    dropout: Struct | null,
    compute: number,
    exact: boolean,
    positions: Handle | 0,
    table: Handle | 0,
    headDim: number,
    interleaved: boolean,
  ): [y: Handle, s: Handle]
  /** residual: what dx is added to, of x's shape. */
  loraLinearBackward(
    dy: Handle,
    x: Handle,
    w: Handle,
    a: Handle,
    b: Handle,
    s: Handle,
    scale: number,
    dropout: Struct | null,
    compute: number,
    exact: boolean,
    needsDx: boolean,
    needsDa: boolean,
    needsDb: boolean,
    residual: Handle | 0,
  ): [dx: Handle, da: Handle, db: Handle]
  /**
   * One element a layer in each list; a bias of 0 is absent. rope: positions and table, or nothing; bit i of `rotated`:
   * whether it is for layer i. Returns y of each, then s of each; activated, not beside rope: then `kind` of each y.
   */
  loraLinearGroup(
    x: Handle,
    weights: readonly Handle[],
    biases: readonly (Handle | 0)[],
    a: readonly Handle[],
    b: readonly Handle[],
    scales: readonly number[],
    dropouts: readonly (Struct | null)[],
    compute: number,
    exact: boolean,
    rope: readonly Handle[],
    headDim: number,
    interleaved: boolean,
    rotated: number,
    activated: boolean,
    kind: number,
  ): Handle[]
  /**
   * Returns dx, then da of each layer, then db of each; residual as above. leavesT, beside bf16 and f16: and then t
   * [N, ranks], each a multiple of 16; the da are made by the call whose `earlier` is [x, t, ...da], with their masks.
   * through: x is `kind` of it, and dx its gradient.
   */
  loraLinearGroupBackward(
    x: Handle,
    dy: readonly Handle[],
    weights: readonly Handle[],
    a: readonly Handle[],
    b: readonly Handle[],
    s: readonly Handle[],
    scales: readonly number[],
    dropouts: readonly (Struct | null)[],
    compute: number,
    exact: boolean,
    needsDx: boolean,
    needsDa: boolean,
    needsDb: boolean,
    residual: Handle | 0,
    leavesT: boolean,
    earlier: readonly Handle[],
    earlierDropouts: readonly (Struct | null)[],
    through: Handle | 0,
    kind: number,
  ): (Handle | 0)[]
  /** Makes the da of `earlier` alone; exact: as the call was that left them. */
  loraGradients(earlier: readonly Handle[], dropouts: readonly (Struct | null)[], exact: boolean): void
  /**
   * rows: of each group, whose factors are 0 where it has none; bias: one or nothing; dropouts: of each group, which
   * count its rows from its first; rope as above. Returns y, then s of each group, 0 without factors.
   */
  loraLinearRows(
    x: Handle,
    w: Handle,
    bias: readonly Handle[],
    rows: readonly number[],
    a: readonly (Handle | 0)[],
    b: readonly (Handle | 0)[],
    scales: readonly number[],
    dropouts: readonly (Struct | null)[],
    compute: number,
    exact: boolean,
    rope: readonly Handle[],
    headDim: number,
    interleaved: boolean,
  ): [y: Handle, ...s: (Handle | 0)[]]
  /** Returns dx, then da of each group, then db of each. */
  loraLinearRowsBackward(
    dy: Handle,
    x: Handle,
    w: Handle,
    rows: readonly number[],
    a: readonly (Handle | 0)[],
    b: readonly (Handle | 0)[],
    s: readonly (Handle | 0)[],
    scales: readonly number[],
    dropouts: readonly (Struct | null)[],
    compute: number,
    exact: boolean,
    needsDx: boolean,
    needsDa: boolean,
    needsDb: boolean,
  ): (Handle | 0)[]
  embedding(table: Handle, ids: Handle, dtype: number): Handle
  embeddingBackward(dy: Handle, ids: Handle, rows: number, dtype: number): Handle
  /** options: temperature, topK, topP, site, step, seed (low, high), row */
  sample(logits: Handle, options: Struct): Handle
  layerNorm(
    x: Handle,
    residual: Handle | 0,
    w: Handle,
    b: Handle | 0,
    eps: number,
    dropout: Struct | null,
  ): [y: Handle, h: Handle, mean: Handle, rstd: Handle]
  layerNormBackward(
    dy: Handle,
    dh: Handle | 0,
    h: Handle,
    w: Handle,
    mean: Handle,
    rstd: Handle,
    dropout: Struct | null,
    needsDresidual: boolean,
    needsDw: boolean,
    needsDb: boolean,
  ): [dx: Handle, dresidual: Handle, dw: Handle, db: Handle]
  rmsNorm(
    x: Handle,
    residual: Handle | 0,
    w: Handle,
    offset: number,
    eps: number,
    dropout: Struct | null,
  ): [y: Handle, h: Handle, rstd: Handle]
  rmsNormBackward(
    dy: Handle,
    dh: Handle | 0,
    h: Handle,
    w: Handle,
    rstd: Handle,
    offset: number,
    needsDx: boolean,
    needsDw: boolean,
  ): [dx: Handle, dw: Handle]
  rope(
    q: Handle,
    k: Handle | 0,
    positions: Handle,
    table: Handle,
    headDim: number,
    interleaved: boolean,
  ): [q: Handle, k: Handle]
  ropeBackward(dy: Handle, positions: Handle, table: Handle, headDim: number, interleaved: boolean): void
  /** shape: heads, kvHeads, headDim, causal, maxLength, rowStride, scale, maxKeys, window, softcap */
  attention(
    q: Handle,
    k: Handle,
    v: Handle,
    cuSeqlens: Handle,
    keySeqlens: Handle | 0,
    bias: Handle | 0,
    shape: Struct,
    dropout: Struct | null,
  ): [o: Handle, lse: Handle]
  attentionBackward(...args: AttentionGradient<Handle | 0>): [dq: Handle, dk: Handle, dv: Handle]
  attentionBiasBackward(...args: AttentionGradient<Handle>): Handle
  cacheWrite(kCache: Handle, vCache: Handle, k: Handle, v: Handle, slots: Handle): void
  attentionDecode(
    q: Handle,
    kCache: Handle,
    vCache: Handle,
    lengths: Handle,
    pages: Handle,
    bias: Handle | 0,
    shape: Struct,
  ): Handle
  /** options: ignoreIndex, smoothing, scale */
  crossEntropy(logits: Handle, labels: Handle, weights: Handle | 0, options: Struct): [loss: Handle, lse: Handle]
  crossEntropyBackward(
    dloss: Handle,
    logits: Handle,
    labels: Handle,
    weights: Handle | 0,
    lse: Handle,
    options: Struct,
  ): Handle
  /** options: ignoreIndex, smoothing, scale, softcap, zLoss, chunk, compute; of each part rows, scale */
  linearCrossEntropy(
    x: Handle,
    w: Handle,
    bias: Handle | 0,
    labels: Handle,
    options: Struct,
    needsDx: boolean,
  ): [loss: Handle, dx: Handle]
  linearCrossEntropyBackward(dloss: Handle, dx: Handle, scale: number): Handle
  bce(logits: Handle, targets: Handle, positiveWeights: Handle | 0, scale: number): Handle
  bceBackward(dloss: Handle, logits: Handle, targets: Handle, positiveWeights: Handle | 0, scale: number): Handle
  mse(x: Handle, targets: Handle, scale: number): Handle
  mseBackward(dloss: Handle, x: Handle, targets: Handle, scale: number): Handle
  /** options: lr, beta1, beta2, eps, weightDecay, clip, step */
  adamw(params: Handle, grads: Handle, m: Handle, v: Handle, slices: Handle, squaredNorm: Handle, options: Struct): void
  adamw8(
    params: Handle,
    grads: Handle,
    m: Handle,
    v: Handle,
    mScale: Handle,
    vScale: Handle,
    slices: Handle,
    squaredNorm: Handle,
    options: Struct,
  ): void
}

/**
 * The addon, loaded at the first call. Until then a trap stands where it will be: the prototype. After it, V8 finds an
 * op there as fast as on the addon itself; a proxy in front of each call, or a variable export, would be slower.
 */
export const native: Native = Object.create(
  new Proxy({}, { get: (_, name) => openNative()[name as keyof Native] }),
) as Native

let opened = false

/** Loads the addon, if it isn't. @throws ERR_ADDON where none fits this machine */
export function openNative(): Native {
  if (opened) return native
  const addon = loadAddon() as Native
  addon.initialize(LowrankError)
  Object.setPrototypeOf(native, addon)
  opened = true
  return native
}
