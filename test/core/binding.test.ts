// Random calls of every native function: a coded error or a result, never the end of the process.

import { openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import { BLOCKS, DTYPES, type Handle, native, openNative } from '../../lib/native.ts'
import { Device, Tensor } from '../../lib/tensor.ts'
import { isOneOf } from '../../lib/tuple.ts'
import { temporaryFolder } from '../support/temporary.ts'

// Read when the device is opened: a random size must not fill the machine's memory.
process.env.LOWRANK_MEMORY_LIMIT = String(256 << 20)

// T tensor, M tensor or 0, n number, i small whole number, b boolean, k enum, s shape, D device, u typed array,
// L, O list of tensors, of tensors or 0, N of numbers, P of dropouts, p dropout, a attention, c cross entropy,
// l linear cross entropy, w AdamW
const SIGNATURES: Record<string, string> = {
  empty: 'Dks',
  view: 'Tis',
  upload: 'Tuk',
  uploadFile: 'Tiiiik',
  read: 'T',
  shape: 'T',
  dtype: 'T',
  byteLength: 'T',
  deviceOf: 'T',
  wait: 'D',
  memory: 'D',
  resetPeak: 'D',
  trim: 'D',
  launches: 'D',
  reset: 'D',
  info: '',
  live: '',
  fill: 'Tn',
  cast: 'Tk',
  copyInto: 'TT',
  quantize: 'Tk',
  dequantize: 'Tk',
  add: 'TT',
  multiply: 'TT',
  scaleColumns: 'TTM',
  scaleColumnsBackward: 'TTTbb',
  inverseNorms: 'TTTTn',
  accumulate: 'TTn',
  accumulateAll: 'LL',
  scale: 'Tn',
  activation: 'Tk',
  activationBackward: 'TTk',
  gatedActivation: 'TTk',
  gatedActivationBackward: 'TTTk',
  log1mexp: 'T',
  log1mexpBackward: 'TT',
  dropout: 'Tp',
  sumRows: 'T',
  sum: 'T',
  sumSquares: 'T',
  matmul: 'TTbbkk',
  linear: 'TTMkMMib',
  loraLinear: 'TTMTTnpkbMMib',
  loraLinearBackward: 'TTTTTTnpkbbbbM',
  loraLinearGroup: 'TLOLLNPkbLibibk',
  loraLinearGroupBackward: 'TLLLLLNPkbbbbMbLPMk',
  loraGradients: 'LPb',
  loraLinearRows: 'TTLNOONPkbLib',
  loraLinearRowsBackward: 'TTTNOOONPkbbbb',
  embedding: 'TTk',
  embeddingBackward: 'TTik',
  sample: 'Tg',
  layerNorm: 'TMTMnp',
  layerNormBackward: 'TMTTTTpbbb',
  rmsNorm: 'TMTnnp',
  rmsNormBackward: 'TMTTTnbb',
  rope: 'TMTTib',
  ropeBackward: 'TTTib',
  attention: 'TTTTMMap',
  attentionBackward: 'TTTTTTTMMap',
  attentionBiasBackward: 'TTTTTTTMTap',
  cacheWrite: 'TTTTT',
  attentionDecode: 'TTTTTMa',
  crossEntropy: 'TTMc',
  crossEntropyBackward: 'TTTMTc',
  linearCrossEntropy: 'TTMTlb',
  linearCrossEntropyBackward: 'TTn',
  bce: 'TTMn',
  bceBackward: 'TTTMn',
  mse: 'TTn',
  mseBackward: 'TTTn',
  adamw: 'TTTTTTw',
  adamw8: 'TTTTTTTTw',
  setThreads: 'i',
}

const SHAPES = [
  [4, 6],
  [4, 6],
  [6, 6],
  [6],
  [4],
  [1],
  [2, 6],
  [6, 2],
  [4, 2],
  [1, 4],
  [3],
  [0, 6],
  [6, 0],
  [0],
  [],
  [2, 2, 3],
]
const ODD = [Number.NaN, Infinity, -Infinity, -1, 0, -0, 0.5, 1e300, 2 ** 31, 2 ** 32, 2 ** 53, -(2 ** 63), 5e-324]
const odd = fc.constantFrom(...ODD)
const junk = fc.oneof(
  odd,
  fc.constantFrom<unknown>(null, undefined, true, false, '', 'cpu', {}, [], [1], () => 1, Symbol('x'), 10n),
  fc.float64Array({ maxLength: 8 }),
  fc.constant(new Float64Array(new SharedArrayBuffer(56))),
)

function tensors(): Handle[] {
  const make = (shape: number[], dtype: (typeof DTYPES)[number], device: Device) => {
    if (isOneOf(BLOCKS, dtype)) {
      const blocks = Tensor.empty([2, 256], { dtype, device }).keep()
      blocks.upload(new Uint8Array(blocks.byteLength), dtype)
      return blocks
    }
    const isQuantized = dtype === 'int8' || dtype === 'nf4'
    if (isQuantized) return Tensor.from(new Float32Array(24), shape, { dtype, device }).keep()
    return Tensor.zeros(shape, { dtype, device }).keep()
  }
  const [cpu, meta] = [Device.get('cpu'), Device.get('meta')]
  const all = SHAPES.flatMap(shape => [
    make(shape, 'f32', cpu),
    make(shape, 'f32', cpu),
    make(shape, 'f64', cpu),
    make(shape, 'i32', cpu),
    make(shape, 'bf16', cpu),
    make(shape, 'f32', meta),
  ])
  all.push(...DTYPES.map(dtype => make([4, 6], dtype, cpu)))
  all.push(Tensor.from(Int32Array.of(0, 1, 4), [3]).keep(), Tensor.from(Int32Array.of(0, 5, -1, 99), [4]).keep())
  all.push(
    Tensor.from(Float64Array.of(0, 6, 1, 1), [1, 4]).keep(),
    Tensor.from(Float64Array.of(-5, 1e9, NaN, 1), [1, 4]).keep(),
  )
  held.push(...all)
  return all.map(tensor => tensor.handle)
}
const held: Tensor[] = []

function argument(kind: string, handles: Handle[]): fc.Arbitrary<unknown> {
  const struct = (...values: fc.Arbitrary<number>[]) =>
    fc
      .tuple(...values.map(v => fc.oneof({ weight: 12, arbitrary: v }, { weight: 1, arbitrary: odd })))
      .map(v => Float64Array.from(v))
  const int = (max: number) => fc.integer({ min: 0, max })
  const tensor = fc.constantFrom(...handles, ...handles.slice(0, 8), 2 ** 24 * 3 + 1, 2 ** 52 + 5)
  const kinds: Record<string, fc.Arbitrary<unknown>> = {
    T: tensor,
    M: fc.oneof(fc.constant(0), tensor),
    n: fc.oneof(fc.double({ noNaN: true, min: -10, max: 10 }), odd),
    i: int(8),
    b: fc.boolean(),
    k: int(9),
    s: fc.oneof(fc.constantFrom(...SHAPES), fc.array(fc.oneof(int(9), odd), { maxLength: 5 })),
    D: int(2),
    u: fc.oneof(
      fc.float32Array({ maxLength: 24, minLength: 24 }),
      fc.uint8Array({ maxLength: 30 }),
      fc.int32Array({ maxLength: 4 }),
    ),
    p: fc.oneof(fc.constant(null), struct(fc.integer({ min: 1, max: 256 }), int(9), int(9), int(9), int(9), int(9))),
    L: fc.array(tensor, { maxLength: 4 }),
    O: fc.array(fc.oneof(fc.constant(0), tensor), { maxLength: 4 }),
    N: fc.array(fc.oneof(fc.double({ noNaN: true, min: -10, max: 10 }), odd), { maxLength: 4 }),
    P: fc.array(fc.oneof(fc.constant(null), fc.constant(Float64Array.of(128, 1, 2, 3, 4, 5))), { maxLength: 4 }),
    a: struct(int(3), int(3), int(4), int(1), int(6), int(9), fc.constant(0.5), int(6), int(3), int(2)),
    c: struct(fc.constant(-100), fc.constantFrom(0, 0.1), fc.constant(1)),
    l: struct(...[-100, 0.1, 1, 30, 0.1, 3, 0].map(v => fc.constant(v))),
    g: struct(fc.constantFrom(0, 0.7), int(3), fc.constantFrom(0.5, 1), int(9), int(9), int(9), int(9), int(9)),
    w: struct(...[0.1, 0.9, 0.99, 1e-8, 0.01, 1, 3].map(v => fc.constant(v))),
  }
  return fc.oneof({ weight: 30, arbitrary: kinds[kind]! }, { weight: 1, arbitrary: junk })
}

/** Arguments that each of the harder ops accepts. */
function accepted(): Record<string, unknown[]> {
  const h = (...shape: number[]) => {
    const tensor = Tensor.zeros(shape).keep()
    held.push(tensor)
    return tensor.handle
  }
  const ids = Tensor.from(Int32Array.of(0, 1, 3, 0), [4]).keep()
  const cu = Tensor.from(Int32Array.of(0, 1, 4), [3]).keep()
  const slices = Tensor.from(Float64Array.of(0, 6, 1, 1), [1, 4]).keep()
  const codes = Tensor.zeros([6], { dtype: 'u8' }).keep()
  const pages = Tensor.from(Int32Array.of(0, 1, 3, 2, 0, 0, 1, 1), [4, 2]).keep()
  held.push(ids, cu, slices, codes, pages)
  const [i, c] = [ids.handle, cu.handle]
  const step = Float64Array.of(0.1, 0.9, 0.99, 1e-8, 0, 1, 1)
  const heads = Float64Array.of(2, 2, 3, 1, 4, 4, 0.5, 4, 2, 3)
  const loss = Float64Array.of(-100, 0.1, 1)
  const drop = Float64Array.of(128, 1, 2, 3, 4, 5)
  const x = h(4, 6)
  const path = join(temporaryFolder(), 'weights')
  writeFileSync(path, new Uint8Array(104))
  const weights = openSync(path, 'r')
  const w = Tensor.from(new Float32Array(24), [4, 6], { dtype: 'nf4' }).keep()
  held.push(w)
  return {
    loraLinear: [x, h(6, 6), h(6), h(2, 6), h(6, 2), 1, drop, 1, true, i, h(4, 2), 3, true],
    loraLinearBackward: [x, h(4, 6), h(6, 6), h(2, 6), h(6, 2), h(4, 2), 1, drop, 0, true, true, true, true, h(4, 6)],
    uploadFile: [h(4, 6), weights, 8, 96, 104, 0],
    loraLinearGroup: [
      x,
      [h(6, 6), h(3, 6)],
      [0, h(3)],
      [h(2, 6), h(1, 6)],
      [h(6, 2), h(3, 1)],
      [1, 2],
      [drop, null],
      1,
      true,
      [],
      3,
      false,
      ...[3, true, 0],
    ],
    loraLinearGroupBackward: [
      x,
      [h(4, 6), h(4, 3)],
      [h(6, 6), h(3, 6)],
      [h(2, 6), h(1, 6)],
      [h(6, 2), h(3, 1)],
      [h(4, 2), h(4, 1)],
      [1, 2],
      [drop, null],
      0,
      true,
      true,
      true,
      true,
      h(4, 6),
      ...[false, [], [], h(4, 6), 0],
    ],
    loraLinearRows: [
      ...[x, h(6, 6), [h(6)], [3, 1], [h(2, 6), 0], [h(6, 2), 0], [1, 1]],
      ...[[drop, null], 1, true, [i, h(4, 2)], 3, true],
    ],
    loraLinearRowsBackward: [
      ...[h(4, 6), x, h(6, 6), [3, 1], [h(2, 6), 0], [h(6, 2), 0], [h(3, 2), 0], [1, 1]],
      ...[[drop, null], 0, true, true, true, true],
    ],
    multiply: [x, h(4, 6)],
    scaleColumns: [x, h(6), h(6)],
    scaleColumnsBackward: [x, h(4, 6), h(6), true, true],
    inverseNorms: [h(4), h(2, 4), h(2, 2), h(4, 2), 0.5],
    log1mexp: [x],
    log1mexpBackward: [x, h(4, 6)],
    embedding: [x, i, 0],
    embeddingBackward: [x, i, 9, 0],
    sample: [x, Float64Array.of(0.7, 2, 0.9, 1, 2, 3, 4, 0)],
    matmul: [x, h(6, 6), false, false, 0, 0],
    layerNorm: [x, h(4, 6), h(6), h(6), 1e-5, drop],
    layerNormBackward: [x, x, h(4, 6), h(6), h(4), h(4), drop, true, true, true],
    rmsNorm: [x, h(4, 6), h(6), 1, 1e-5, drop],
    rmsNormBackward: [x, x, h(4, 6), h(6), h(4), 0, true, true],
    rope: [x, h(4, 6), i, h(4, 2), 3, false],
    ropeBackward: [x, i, h(4, 2), 3, true],
    activationBackward: [x, h(4, 6), 3],
    gatedActivation: [x, h(4, 6), 3],
    gatedActivationBackward: [x, h(4, 6), h(4, 6), 3],
    attention: [x, h(4, 6), h(4, 6), c, c, h(2, 7), heads, drop],
    attentionBiasBackward: [x, h(4, 6), h(4, 6), h(4, 6), h(4, 6), h(4, 2), c, c, h(2, 7), heads, drop],
    attentionBackward: [x, h(4, 6), h(4, 6), h(4, 6), h(4, 6), h(4, 2), c, c, h(2, 7), heads, drop],
    cacheWrite: [h(4, 5, 6), h(4, 5, 6), x, h(4, 6), i],
    attentionDecode: [x, h(4, 5, 6), h(4, 5, 6), i, pages.handle, h(2, 19), heads],
    crossEntropy: [x, i, h(6), loss],
    crossEntropyBackward: [h(1), x, i, h(6), h(4), loss],
    linearCrossEntropy: [x, h(5, 6), h(5), i, Float64Array.of(-100, 0.1, 1, 0, 0, 3, 0), true],
    linearCrossEntropyBackward: [h(1), x, 1],
    bce: [x, h(4, 6), h(6), 1],
    bceBackward: [h(1), x, h(4, 6), h(6), 1],
    linear: [x, h(6, 6), h(6), 0, i, h(4, 2), 3, false],
    quantize: [x, 7],
    dequantize: [w.handle, 0],
    mse: [x, h(4, 6), 1],
    mseBackward: [h(1), x, h(4, 6), 1],
    adamw: [h(6), h(6), h(6), h(6), slices.handle, h(1), step],
    adamw8: [h(6), h(6), codes.handle, codes.handle, h(1), h(1), slices.handle, h(1), step],
  }
}

/** Random arguments, and accepted ones of which at most two are replaced. */
function calls(handles: Handle[]): fc.Arbitrary<[string, unknown[]]> {
  const base = accepted()
  return fc.oneof(
    ...Object.entries(SIGNATURES).map(([name, signature]) => {
      const args = fc.tuple(...[...signature].map(kind => argument(kind, handles)))
      const places = fc.array(fc.nat({ max: Math.max(0, signature.length - 1) }), { maxLength: 2 })
      const few = { weight: 20, arbitrary: fc.constant(99) }
      const cut = fc.oneof(few, { weight: 1, arbitrary: fc.integer({ min: 0, max: 3 }) })
      return fc.tuple(args, places, cut).map(([list, replaced, count]): [string, unknown[]] => {
        const mixed = base[name]?.map((value, i) => (replaced.includes(i) ? list[i] : value)) ?? list
        return [name, mixed.slice(0, count)]
      })
    }),
  )
}

function call(name: string, args: unknown[], made: Handle[]): string {
  try {
    const result = (native as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!(...args)
    if (result instanceof Promise) result.catch(() => undefined)
    const makes = !['live', 'dtype', 'byteLength', 'deviceOf', 'shape', 'info', 'memory'].includes(name)
    if (makes) for (const h of [result].flat()) if (typeof h === 'number' && h !== 0) made.push(h as Handle)
    return 'ok'
  } catch (error) {
    assert.ok(error instanceof LowrankError && /^ERR_/.test(error.code), `${name}: ${error}`)
    return error.code
  }
}

test('the table of signatures names every function', () => {
  const untested = ['initialize', 'openDevice', 'drop', 'conformanceCases', 'runConformance', 'planFor']
  const functions = Object.keys(Object.getPrototypeOf(openNative()))
  assert.equal(functions.sort(), [...Object.keys(SIGNATURES), ...untested].sort())
})

test('random arguments', async () => {
  const before = native.live()
  const cpu = Device.get('cpu')
  const random = calls(tensors())
  const outcomes = new Map<string, Map<string, number>>()
  for (let round = 0; round < 40; round++) {
    const made: Handle[] = []
    fc.assert(
      fc.property(random, ([name, args]) => {
        const outcome = call(name, args, made)
        const counts = outcomes.get(name) ?? new Map<string, number>()
        outcomes.set(name, counts.set(outcome, (counts.get(outcome) ?? 0) + 1))
      }),
      { numRuns: 500, seed: Number(process.env.LOWRANK_FUZZ_SEED ?? 20260) + round },
    )
    await cpu.synchronize().catch(() => undefined)
    cpu.reset()
    for (const handle of made) native.drop(handle)
  }
  native.setThreads(0)
  // A fuzz that only meets refusals tests nothing.
  const neverOk = [...outcomes].filter(([, counts]) => !counts.get('ok')).map(([name]) => name)
  assert.equal(neverOk, ['loraGradients']) // of half precision alone, which the CPU has not
  for (const tensor of held) tensor.dispose()
  assert.is(native.live(), before)
})

test('functions that are not in the table refuse what is no argument of theirs', () => {
  for (const value of [undefined, null, 1, 'gpu', {}, Number.NaN]) {
    for (const [name, args] of [
      ['initialize', [value]],
      ['openDevice', [value, 0]],
      ['openDevice', ['cpu', value]],
      ['drop', [value]],
      ['conformanceCases', [value]],
      ['runConformance', [value, 0]],
      ['runConformance', [0, value]],
    ] as const)
      assert.is.not(call(name, [...args], []), 'ok', `${name}(${args.map(String).join(', ')})`)
  }
})

test('an array whose elements run JavaScript cannot pull a tensor away', () => {
  const before = native.live()
  const x = Tensor.from(Float32Array.of(1, 2, 3, 4), [4])
  const shape = [0]
  Object.defineProperty(shape, 0, {
    get() {
      native.drop(x.handle)
      for (let i = 0; i < 1000; i++) native.drop(native.empty(Device.get('cpu').id, 0, [1]))
      return 2
    },
  })
  assert.throws(
    () => native.view(x.handle, 0, shape),
    (e: { code?: string }) => e.code === 'ERR_DISPOSED',
  )
  x.moveTo(new Set())
  assert.is(native.live(), before)
})

test.run()
