import { check, fail } from './errors.ts'
import { DTYPES, type DType, type Handle, type MemoryUse, native } from './native.ts'

/** Typed arrays that hold tensor data: bf16 and f16 as Uint16Array, i64 as BigInt64Array. */
export type TensorData = Float32Array | Float64Array | Int32Array | Uint16Array | Uint8Array | BigInt64Array

const HOST_DTYPE = new Map<unknown, DType>([
  [Float32Array, 'f32'],
  [Float64Array, 'f64'],
  [Int32Array, 'i32'],
  [Uint8Array, 'u8'],
  [BigInt64Array, 'i64'],
])

/** A device as this thread sees it: a queue of work and a pool of memory. */
export class Device {
  readonly name: string
  readonly id: number

  private constructor(name: string, id: number) {
    this.name = name
    this.id = id
  }

  static readonly #open = new Map<string, Device>()

  /**
   * Opens `cpu`, `meta` (shapes and memory counters, no data), `cuda` or `cuda:N`; `auto` is the first CUDA device that
   * works, else the CPU. Throws ERR_DEVICE with the reason where a device can't be used.
   */
  static get(name: string): Device {
    if (name === 'auto') return Device.get(native.info().cuda.count > 0 ? 'cuda:0' : 'cpu')
    const match = /^(cpu|meta|cuda)(?::(\d+))?$/.exec(name)
    check(match, 'ERR_DEVICE', () => `device: "${name}" is unknown; use cpu, cuda, cuda:N, meta or auto`)
    const full = match[1] === 'cuda' ? `cuda:${match[2] ?? 0}` : match[1]!
    let device = Device.#open.get(full)
    device ??= new Device(full, native.openDevice(match[1]!, Number(match[2] ?? 0)))
    Device.#open.set(full, device)
    return device
  }

  static byId(id: number): Device {
    for (const device of Device.#open.values()) if (device.id === id) return device
    return fail('ERR_DEVICE', `device: id ${id} is not open`)
  }

  /** Resolves when all work enqueued so far is done; rejects with the fault of the first op that failed. */
  synchronize(): Promise<void> {
    return native.wait(this.id)
  }

  /** Forgets a fault, after which new work runs again. */
  reset(): void {
    native.reset(this.id)
  }

  memory(): MemoryUse {
    return native.memory(this.id)
  }

  resetPeak(): void {
    native.resetPeak(this.id)
  }

  /** Returns cached blocks to the system. */
  trim(): void {
    native.trim(this.id)
  }
}

/**
 * A dense, contiguous tensor on a device. It has exactly one owner, and the owner frees it: the scope it was made in, the
 * tape that saved it, or the module, optimizer or user that holds it.
 */
export class Tensor implements Disposable {
  readonly handle: Handle
  /** Set on parameters that train; ops set it on what depends on them. */
  requiresGrad = false
  /** Where backward adds up this leaf's gradient; without it the tape hands the gradient out. */
  grad: Tensor | undefined
  #owner: Set<Tensor> | undefined
  #shape: readonly number[] | undefined
  #dtype: DType | undefined

  constructor(handle: Handle) {
    this.handle = handle
    this.moveTo(scopes.at(-1))
  }

  /** Copies host data to a device. Uint16Array needs `dtype` bf16 or f16. */
  static from(data: TensorData, shape: readonly number[], options: { device?: Device; dtype?: DType } = {}): Tensor {
    const host = HOST_DTYPE.get(data.constructor) ?? options.dtype
    check(host, 'ERR_DTYPE', () => 'Tensor.from: a Uint16Array needs dtype bf16 or f16')
    const tensor = Tensor.empty(shape, { ...options, dtype: options.dtype ?? host })
    native.upload(tensor.handle, data, DTYPES.indexOf(host))
    return tensor
  }

  /** Uninitialised memory. */
  static empty(shape: readonly number[], options: { device?: Device; dtype?: DType } = {}): Tensor {
    const device = options.device ?? Device.get('cpu')
    return new Tensor(native.empty(device.id, DTYPES.indexOf(options.dtype ?? 'f32'), shape))
  }

  static zeros(shape: readonly number[], options: { device?: Device; dtype?: DType } = {}): Tensor {
    const tensor = Tensor.empty(shape, options)
    native.fill(tensor.handle, 0)
    return tensor
  }

  get shape(): readonly number[] {
    this.#shape ??= native.shape(this.handle)
    return this.#shape
  }

  get dtype(): DType {
    this.#dtype ??= DTYPES[native.dtype(this.handle)]!
    return this.#dtype
  }

  get device(): Device {
    return Device.byId(native.deviceOf(this.handle))
  }

  get size(): number {
    return this.shape.reduce((a, b) => a * b, 1)
  }

  get owner(): Set<Tensor> | undefined {
    return this.#owner
  }

  /** Changes the owner. `undefined` means the caller: a module, an optimizer, the user. */
  moveTo(owner: Set<Tensor> | undefined): this {
    this.#owner?.delete(this)
    this.#owner = owner
    owner?.add(this)
    return this
  }

  /** Takes the tensor out of every scope: from now on the caller frees it. */
  keep(): this {
    return this.moveTo(undefined)
  }

  /** A part of this tensor's memory, from element `offset` on. */
  view(offset: number, shape: readonly number[]): Tensor {
    return new Tensor(native.view(this.handle, offset, shape))
  }

  /** Overwrites the data; the host array may be of another dtype, which is then converted. */
  upload(data: TensorData, dtype?: DType): void {
    const host = HOST_DTYPE.get(data.constructor) ?? dtype ?? this.dtype
    native.upload(this.handle, data, DTYPES.indexOf(host))
  }

  /** The raw bytes, when all work enqueued before is done. */
  bytes(): Promise<ArrayBuffer> {
    return native.read(this.handle)
  }

  /** The data as f32, f64 or i32; bf16 and f16 come as f32. */
  async data(): Promise<Float32Array | Float64Array | Int32Array> {
    const { dtype } = this
    if (dtype === 'f64') return new Float64Array(await this.bytes())
    if (dtype === 'i32') return new Int32Array(await this.bytes())
    if (dtype === 'f32') return new Float32Array(await this.bytes())
    const wide = new Tensor(native.cast(this.handle, DTYPES.indexOf('f32'))).keep()
    try {
      return new Float32Array(await wide.bytes())
    } finally {
      wide.dispose()
    }
  }

  /** The one element of a tensor of size 1. */
  async item(): Promise<number> {
    check(
      this.size === 1,
      'ERR_SHAPE',
      () => `item: the tensor has shape [${this.shape.join(', ')}], expected one element`,
    )
    return (await this.data())[0]!
  }

  dispose(): void {
    this.moveTo(undefined)
    native.drop(this.handle)
  }

  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** Open scopes, innermost last. */
export const scopes: Set<Tensor>[] = []

type Synchronous<T> = T extends Promise<unknown> ? never : T

/**
 * Runs `body`, then frees every tensor it made except those it returns (a Tensor, or an array or record of them), which go
 * to the enclosing scope. Synchronous: work is only enqueued here, so there is nothing to wait for.
 */
export function scope<T>(body: () => Synchronous<T>): T {
  const mine = new Set<Tensor>()
  const outer = scopes.at(-1)
  scopes.push(mine)
  try {
    const result = body()
    check(
      !((result as unknown) instanceof Promise),
      'ERR_OPTION',
      () => 'scope: the body returned a Promise; await outside',
    )
    for (const tensor of tensorsIn(result)) if (tensor.owner === mine) tensor.moveTo(outer)
    return result
  } finally {
    scopes.pop()
    for (const tensor of mine) tensor.dispose()
  }
}

/** Frees a tensor of the innermost scope before the scope ends. One that a tape saved, or somebody keeps, stays. */
export function release(tensor: Tensor): void {
  if (tensor.owner && tensor.owner === scopes.at(-1)) tensor.dispose()
}

/** The tensors of a value: itself, or those directly in an array or plain object. */
export function tensorsIn(value: unknown): Tensor[] {
  if (value instanceof Tensor) return [value]
  if (Array.isArray(value)) return value.filter(v => v instanceof Tensor)
  if (value && typeof value === 'object') return Object.values(value).filter(v => v instanceof Tensor)
  return []
}
