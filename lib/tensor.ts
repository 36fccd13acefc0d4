import { check, fail, nearest } from './errors.ts'
import type { FileRange } from './io/safetensors.ts'
import { BLOCKS, DTYPES, type DType, type Handle, type MemoryUse, native } from './native.ts'
import { checkOptions } from './options.ts'
import { isOneOf, nth } from './tuple.ts'

/** Typed arrays that hold tensor data: bf16 and f16 as Uint16Array, i64 as BigInt64Array. */
export type TensorData = Float32Array | Float64Array | Int32Array | Uint16Array | Uint8Array | BigInt64Array

const HOST_DTYPE = new Map<{ readonly name: string }, DType>([
  [Float32Array, 'f32'],
  [Float64Array, 'f64'],
  [Int32Array, 'i32'],
  [Uint8Array, 'u8'],
  [BigInt64Array, 'i64'],
])

/** The native number of a dtype. */
export function dtypeCode(dtype: DType): number {
  const code = DTYPES.indexOf(dtype)
  const hint = () => `dtype: "${dtype}" is unknown${nearest(String(dtype), DTYPES)}; use ${DTYPES.join(', ')}`
  check(code >= 0, 'ERR_DTYPE', hint)
  return code
}

/** What a typed array holds; `dtype` tells bf16 from f16. */
function hostDtype(data: TensorData, dtype: DType | undefined): DType {
  if (data instanceof Uint16Array) {
    const is16 = dtype === 'bf16' || dtype === 'f16'
    check(is16, 'ERR_DTYPE', () => `tensor: a Uint16Array for dtype ${dtype ?? 'f32'}; say bf16 or f16`)
    return dtype
  }
  if (data instanceof Uint8Array && isOneOf(BLOCKS, dtype)) return dtype
  const host = HOST_DTYPE.get(data?.constructor)
  const known = [...HOST_DTYPE.keys()].map(({ name }) => name).join(', ')
  const name = data?.constructor?.name ?? String(data)
  check(host, 'ERR_DTYPE', () => `tensor: data is a ${name}, expected ${known} or Uint16Array`)
  return host
}

// House rule: a net below the owners, never an owner. It catches tensors that nobody owns and nobody reaches.
const unreachable = new FinalizationRegistry<Handle>(handle => native.drop(handle))

/** A device as this thread sees it: a queue of work and a pool of memory. */
export class Device {
  readonly name: string
  /** `meta`: shapes and memory counters, no data. */
  readonly kind: 'cpu' | 'cuda' | 'meta'
  readonly id: number
  #isPlanOfCuda = false

  private constructor(name: string, kind: Device['kind'], id: number) {
    this.name = name
    this.kind = kind
    this.id = id
  }

  static readonly #open = new Map<string, Device>()

  /**
   * Opens `cpu`, `meta` (shapes and memory counters, no data), `cuda` or `cuda:N`; `auto` is the first CUDA device that
   * works, else the CPU. Throws ERR_DEVICE with the reason where a device can't be used.
   */
  static get(name: string): Device {
    if (name === 'auto') return Device.get(native.info().cuda.count > 0 ? 'cuda:0' : 'cpu')
    const match = /^(?:(cpu|meta)|(cuda)(?::(\d{1,4}))?)$/.exec(name)
    check(match, 'ERR_DEVICE', () => `device: "${name}" is unknown; use cpu, cuda, cuda:N, meta or auto`)
    const kind = match[1] === 'cpu' || match[1] === 'meta' ? match[1] : 'cuda'
    const index = Number(match[3] ?? 0)
    const full = kind === 'cuda' ? `cuda:${index}` : kind
    let device = Device.#open.get(full)
    device ??= new Device(full, kind, native.openDevice(kind, index))
    Device.#open.set(full, device)
    return device
  }

  static byId(id: number): Device {
    for (const device of Device.#open.values()) if (device.id === id) return device
    return fail('ERR_DEVICE', `device: id ${id} is not open`)
  }

  /** Whether work goes to a GPU, or on `meta` is counted as if it did. */
  get isCuda(): boolean {
    return this.kind === 'cuda' || this.#isPlanOfCuda
  }

  /** On `meta`: from now on memory is counted as on CUDA, or as on the CPU. */
  planFor(kind: 'cpu' | 'cuda'): void {
    this.#isPlanOfCuda = kind === 'cuda'
    native.planFor(this.id, this.#isPlanOfCuda)
  }

  /** What computes: the CPU's instruction set, or the GPU's name and compute capability. */
  get hardware(): string {
    const { isa, cuda } = native.info()
    const gpu = cuda.devices?.[Number(/^cuda:(\d+)$/.exec(this.name)?.[1] ?? Number.NaN)]
    return gpu ? `${gpu.name}, capability ${gpu.capability}` : isa
  }

  /** Resolves when all work enqueued so far is done; rejects with the fault of the first op that failed. */
  async synchronize(): Promise<void> {
    await native.wait(this.id)
  }

  /** Forgets a fault: work enqueued from now on runs again. What was enqueued before stays skipped. */
  reset(): void {
    native.reset(this.id)
  }

  memory(): MemoryUse {
    return native.memory(this.id)
  }

  resetPeak(): void {
    native.resetPeak(this.id)
  }

  /** Returns cached blocks to the system; blocks until the queue is empty, since its work may still use them. */
  trim(): void {
    native.trim(this.id)
  }
}

/**
 * A dense, contiguous tensor on a device. It has exactly one owner, and the owner frees it: the scope it was made in,
 * the tape that saved it, or the module, optimizer or user that holds it.
 */
export class Tensor implements Disposable {
  readonly handle: Handle
  /** Set on parameters that train; ops set it on what depends on them. */
  requiresGrad = false
  /** Where backward adds up this leaf's gradient; without it the tape hands the gradient out. */
  grad: Tensor | undefined
  #owner: Set<Tensor> | undefined
  #watched = false
  #shape: readonly number[] | undefined
  #dtype: DType | undefined
  #device: Device | undefined

  constructor(handle: Handle) {
    this.handle = handle
    this.moveTo(scopes.at(-1))
  }

  /** Copies host data to a device, that of a tensor given as options. Uint16Array needs `dtype` bf16 or f16. */
  static from(data: TensorData, shape: readonly number[], options: { device?: Device; dtype?: DType } = {}): Tensor {
    if (!(options instanceof Tensor)) checkOptions('Tensor', options, { device: true, dtype: true })
    const host = hostDtype(data, options.dtype)
    const tensor = Tensor.empty(shape, { device: options.device ?? Device.get('cpu'), dtype: options.dtype ?? host })
    try {
      native.upload(tensor.handle, data, dtypeCode(host))
    } catch (error) {
      tensor.dispose()
      throw error
    }
    return tensor
  }

  /** Uninitialised memory. */
  static empty(shape: readonly number[], options: { device?: Device; dtype?: DType } = {}): Tensor {
    if (!(options instanceof Tensor)) checkOptions('Tensor', options, { device: true, dtype: true })
    const device = options.device ?? Device.get('cpu')
    return new Tensor(native.empty(device.id, dtypeCode(options.dtype ?? 'f32'), shape))
  }

  static zeros(shape: readonly number[], options: { device?: Device; dtype?: DType } = {}): Tensor {
    return Tensor.#filled(0, shape, options)
  }

  static ones(shape: readonly number[], options: { device?: Device; dtype?: DType } = {}): Tensor {
    return Tensor.#filled(1, shape, options)
  }

  static #filled(value: number, shape: readonly number[], options: { device?: Device; dtype?: DType }): Tensor {
    const tensor = Tensor.empty(shape, options)
    native.fill(tensor.handle, value)
    return tensor
  }

  get shape(): readonly number[] {
    this.#shape ??= native.shape(this.handle)
    return this.#shape
  }

  get dtype(): DType {
    this.#dtype ??= nth(DTYPES, native.dtype(this.handle))
    return this.#dtype
  }

  get device(): Device {
    this.#device ??= Device.byId(native.deviceOf(this.handle))
    return this.#device
  }

  get size(): number {
    return this.shape.reduce((a, b) => a * b, 1)
  }

  /** Length of the first axis. @throws ERR_SHAPE for a tensor without one */
  get rows(): number {
    return this.#axis(0)
  }

  /** Length of the second axis. @throws ERR_SHAPE for a tensor without one */
  get columns(): number {
    return this.#axis(1)
  }

  #axis(axis: number): number {
    return this.shape[axis] ?? fail('ERR_SHAPE', `shape: [${this.shape}] has no axis ${axis}; reshape the tensor`)
  }

  /** Memory of its data, in bytes. */
  get byteLength(): number {
    return native.byteLength(this.handle)
  }

  get owner(): Set<Tensor> | undefined {
    return this.#owner
  }

  /** Changes the owner. `undefined` means the caller: a module, an optimizer, the user. */
  moveTo(owner: Set<Tensor> | undefined): this {
    this.#owner?.delete(this)
    this.#owner = owner
    owner?.add(this)
    this.#watch(owner === undefined)
    return this
  }

  #watch(on: boolean): void {
    if (on === this.#watched) return
    this.#watched = on
    if (on) unreachable.register(this, this.handle, this)
    else unreachable.unregister(this)
  }

  /** Takes the tensor out of every scope: from now on the caller frees it. */
  keep(): this {
    return this.moveTo(undefined)
  }

  /** A part of this tensor's memory, from element `offset` on. A tape that runs records it. */
  view(offset: number, shape: readonly number[]): Tensor {
    const view = new Tensor(native.view(this.handle, offset, shape))
    if (this.requiresGrad) viewed?.(view, this, offset)
    return view
  }

  /** The same elements in another shape. Throws ERR_SHAPE where that holds more or fewer. */
  reshape(shape: readonly number[]): Tensor {
    const size = shape.reduce((a, b) => a * b, 1)
    const [from, to] = [this.shape, shape].map(each => `[${each.join(', ')}]`)
    check(size === this.size, 'ERR_SHAPE', () => `reshape: ${from} to ${to} changes the number of elements`)
    return this.view(0, shape)
  }

  /**
   * Copies bytes of a file, which hold `dtype`, to the device, past JavaScript's memory. Returns false,
   * with nothing copied, where a number is NaN or infinite.
   */
  uploadFile({ file, position, bytes, fileSize }: FileRange, dtype: DType): boolean {
    return native.uploadFile(this.handle, file, position, bytes, fileSize, dtypeCode(dtype))
  }

  /** Overwrites the data; the host array may be of another dtype, which is then converted. */
  upload(data: TensorData, dtype?: DType): void {
    native.upload(this.handle, data, dtypeCode(hostDtype(data, dtype ?? this.dtype)))
  }

  /** The raw bytes, when all work enqueued before is done. */
  async bytes(): Promise<ArrayBuffer> {
    return await native.read(this.handle)
  }

  /** The data as f32, of any floating type. @throws ERR_DTYPE for integers */
  async f32(): Promise<Float32Array> {
    const data = await this.floats()
    return data instanceof Float32Array ? data : Float32Array.from(data)
  }

  /** The data as f64 where that is what they are, else as f32. @throws ERR_DTYPE for integers */
  async floats(): Promise<Float32Array | Float64Array> {
    const data = await this.data()
    return data instanceof Int32Array ? fail('ERR_DTYPE', 'floats: the tensor is i32; read it with i32') : data
  }

  /** The data of an i32 tensor. @throws ERR_DTYPE for floats */
  async i32(): Promise<Int32Array> {
    const data = await this.data()
    return data instanceof Int32Array ? data : fail('ERR_DTYPE', `i32: the tensor is ${this.dtype}; read it with f32`)
  }

  /** The data as f32, f64 or i32; all other types come as f32. */
  async data(): Promise<Float32Array | Float64Array | Int32Array> {
    const { dtype } = this
    if (dtype === 'f64') return new Float64Array(await this.bytes())
    if (dtype === 'i32') return new Int32Array(await this.bytes())
    if (dtype === 'f32') return new Float32Array(await this.bytes())
    const wide = copyOf(this, 'f32').keep()
    try {
      return new Float32Array(await wide.bytes())
    } finally {
      wide.dispose()
    }
  }

  /** The one element of a tensor of size 1. */
  async item(): Promise<number> {
    const has = () => `item: the tensor has shape [${this.shape.join(', ')}], expected one element`
    check(this.size === 1, 'ERR_SHAPE', has)
    return nth(await this.data(), 0)
  }

  /** Frees the tensor. Work already enqueued still reads it. Throws ERR_DISPOSED the second time. */
  dispose(): void {
    this.#owner?.delete(this)
    this.#owner = undefined
    this.#watch(false)
    native.drop(this.handle)
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

type Viewed = (view: Tensor, base: Tensor, offset: number) => void
let viewed: Viewed | undefined

/** Says who records views: the tape, which knows tensors and is not known by them. */
export function onView(record: Viewed): void {
  viewed = record
}

/** Open scopes, innermost last. */
export const scopes: Set<Tensor>[] = []

/** Never for a promise: what a scope makes is freed when its function returns. */
export type Synchronous<T> = T extends PromiseLike<unknown> ? never : T

/**
 * Runs `body`, then frees every tensor it made except those it returns (a Tensor, or an array, record, Map or Set of
 * them), which go to the enclosing scope. Synchronous: work is only enqueued here, so there is nothing to wait for.
 * Throws ERR_OPTION where `body` returns a Promise.
 */
export function scope<S extends readonly unknown[]>(body: () => S): S
export function scope<T>(body: () => Synchronous<T>): T
export function scope<T>(body: () => Synchronous<T>): T {
  const mine = new Set<Tensor>()
  const outer = scopes.at(-1)
  scopes.push(mine)
  try {
    const result = body()
    refusePromise(result)
    for (const tensor of tensorsIn(result)) if (tensor.owner === mine) tensor.moveTo(outer)
    return result
  } finally {
    scopes.pop()
    for (const tensor of mine) tensor.dispose()
  }
}

function refusePromise(result: unknown): void {
  const isPromise = result instanceof Object && 'then' in result && typeof result.then === 'function'
  if (!isPromise) return
  // Its tensors are gone, so it may well reject, and nobody would hear it.
  void Promise.resolve(result).catch(() => undefined)
  fail('ERR_OPTION', 'scope: the body returned a Promise, expected a value; await outside of it')
}

/** Frees a tensor of the innermost scope before the scope ends. One that a tape saved, or somebody keeps, stays. */
export function release(tensor: Tensor): void {
  if (tensor.owner && tensor.owner === scopes.at(-1)) tensor.dispose()
}

/** y becomes x, of as many elements, rounded to y's type. */
export function copyInto(y: Tensor, x: Tensor): void {
  native.copyInto(y.handle, x.handle)
}

/** A copy, in another dtype or in the same, that no tape sees. */
export function copyOf(x: Tensor, dtype: DType = x.dtype): Tensor {
  return new Tensor(native.cast(x.handle, dtypeCode(dtype)))
}

/** Bytes that tensors take in the pool, which rounds the size of each up. */
export function pooledBytes(tensors: readonly Tensor[]): number {
  return tensors.reduce((sum, { byteLength }) => sum + Math.ceil(byteLength / POOL_BLOCK) * POOL_BLOCK, 0)
}

const POOL_BLOCK = 256

/** The tensors of a value: itself, or those directly in an array, record, Map or Set. */
export function tensorsIn(value: unknown): Tensor[] {
  if (value instanceof Tensor) return [value]
  if (!value || typeof value !== 'object' || ArrayBuffer.isView(value)) return []
  const listed = value instanceof Map || value instanceof Set || Array.isArray(value)
  return [...(listed ? value.values() : Object.values(value))].filter(v => v instanceof Tensor)
}
