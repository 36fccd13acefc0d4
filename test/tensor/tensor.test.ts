import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { LowrankError } from '../../lib/errors.ts'
import { DTYPES, native } from '../../lib/native.ts'
import { Device, Tensor, type TensorData } from '../../lib/tensor.ts'

const throwsCode = (code: string, call: () => unknown, message?: RegExp) =>
  assert.throws(call, (e: LowrankError) => e.code === code && (!message || message.test(e.message)))

async function rejectsCode(code: string, promise: Promise<unknown>): Promise<void> {
  const error = await promise.then(
    () => undefined,
    e => e as LowrankError,
  )
  assert.is(error?.code, code)
}

const FLOATS = ['f32', 'f64', 'bf16', 'f16'] as const
const PLAIN = ['f32', 'f64', 'bf16', 'f16', 'i32', 'u8', 'i64'] as const
/** Small whole numbers: exact in every dtype. */
const VALUES = [0, 1, 2, 3, 100, 7]
const HOST: Record<(typeof PLAIN)[number], (values: number[]) => TensorData> = {
  f32: v => Float32Array.from(v),
  f64: v => Float64Array.from(v),
  bf16: v => Uint16Array.from(v, x => new Uint32Array(Float32Array.of(x).buffer)[0]! >>> 16),
  f16: v =>
    Uint16Array.from(v, x =>
      x ? ((Math.floor(Math.log2(x)) + 15) << 10) | ((x / 2 ** Math.floor(Math.log2(x)) - 1) * 1024) : 0,
    ),
  i32: v => Int32Array.from(v),
  u8: v => Uint8Array.from(v),
  i64: v => BigInt64Array.from(v.map(BigInt)),
}

test('each dtype is uploaded to each dtype that it converts to, and refused for the others', async () => {
  const before = native.live()
  for (const from of PLAIN)
    for (const to of PLAIN) {
      const integer = !FLOATS.includes(from as never)
      const converts = to === from || (integer ? to === 'f32' : FLOATS.includes(to as never))
      const target = Tensor.zeros([VALUES.length], { dtype: to })
      if (converts) {
        target.upload(HOST[from](VALUES), from)
        assert.equal([...(await target.data())], VALUES, `${from} to ${to}`)
      } else throwsCode('ERR_DTYPE', () => target.upload(HOST[from](VALUES), from), /no conversion/)
      target.dispose()
    }
  assert.is(native.live(), before)
})

test('a cast does what an upload does', async () => {
  for (const from of PLAIN)
    for (const to of PLAIN) {
      const x = Tensor.empty([VALUES.length], { dtype: from })
      x.upload(HOST[from](VALUES), from)
      const cast = () => new Tensor(native.cast(x.handle, DTYPES.indexOf(to)))
      const integer = !FLOATS.includes(from as never)
      if (to === from || (integer ? to === 'f32' : FLOATS.includes(to as never))) {
        const y = cast()
        assert.is(y.dtype, to)
        assert.equal([...(await y.data())], VALUES)
        y.dispose()
      } else throwsCode('ERR_DTYPE', cast, /^cast: no conversion from/)
      x.dispose()
    }
})

test('data comes back as it went, for any floats', async () => {
  await fc.assert(
    fc.asyncProperty(fc.float32Array({ maxLength: 50 }), async data => {
      const x = Tensor.from(data, [data.length])
      // As bytes: NaN is not equal to itself.
      assert.equal(new Uint8Array(await x.bytes()), new Uint8Array(data.buffer))
      x.dispose()
    }),
    { numRuns: 50 },
  )
})

test('an upload takes the values of now, whatever the array holds later', async () => {
  const data = Float32Array.of(1, 2, 3)
  const x = Tensor.from(data, [3])
  data.fill(9)
  assert.equal(await x.data(), Float32Array.of(1, 2, 3))
  x.upload(Float64Array.of(4, 5, 6))
  assert.equal(await x.data(), Float32Array.of(4, 5, 6))
  x.upload(new Float32Array(new SharedArrayBuffer(12)))
  assert.equal(await x.data(), new Float32Array(3))
  x.dispose()
})

test('a tensor in place of options tells device and dtype', async () => {
  const half = Tensor.from(Uint16Array.of(0x3f80), [1], { dtype: 'bf16' })
  const x = Tensor.from(Uint16Array.of(0x4000, 0x4040), [2], half)
  const y = Tensor.empty([3], half)
  assert.equal([x.dtype, y.dtype, x.device, y.device], ['bf16', 'bf16', half.device, half.device])
  assert.equal(await x.floats(), Float32Array.of(2, 3))
  for (const tensor of [half, x, y]) tensor.dispose()
})

test('hundreds of megabytes of uploads wait for their turn', async () => {
  const data = new Float32Array(4 << 20).fill(3)
  const x = Tensor.empty([4 << 20])
  for (let i = 0; i < 20; i++) x.upload(data)
  assert.is((await x.data())[12345], 3)
  x.dispose()
})

test('views share memory, at any offset', async () => {
  const x = Tensor.from(
    Float32Array.from({ length: 12 }, (_, i) => i),
    [3, 4],
  )
  const row = x.view(4, [4])
  const corner = row.view(1, [3, 1])
  assert.equal(corner.shape, [3, 1])
  assert.equal(await corner.data(), Float32Array.of(5, 6, 7))
  native.fill(corner.handle, -1)
  assert.equal([...(await x.data())], [0, 1, 2, 3, 4, -1, -1, -1, 8, 9, 10, 11])
  const empty = x.view(12, [0])
  assert.is(empty.size, 0)
  x.dispose()
  assert.equal([...(await row.data())], [4, -1, -1, -1], 'a view outlives the tensor it came from')
  for (const view of [row, corner, empty]) view.dispose()
})

test('views outside, of parts of elements, and copies within one memory are refused', () => {
  const x = Tensor.zeros([3, 4])
  for (const [offset, shape] of [
    [9, [4]],
    [13, [0]],
    [-1, [1]],
    [0.5, [1]],
    [Number.NaN, [1]],
    [2 ** 52, [2]],
    [0, [2 ** 30, 2 ** 30]],
  ] as const)
    throwsCode('ERR_SHAPE', () => x.view(offset, shape), /^view: /)
  const [a, b, c] = [x.view(0, [6]), x.view(5, [6]), x.view(6, [6])]
  throwsCode('ERR_OPTION', () => native.copyInto(a.handle, b.handle), /share memory/)
  native.copyInto(a.handle, c.handle)
  for (const tensor of [a, b, c, x]) tensor.dispose()
})

test('a stale handle is an error and never another tensor', async () => {
  const x = Tensor.from(Float32Array.of(1), [1])
  x.dispose()
  const y = Tensor.from(Float32Array.of(2), [1])
  throwsCode('ERR_DISPOSED', () => x.dispose())
  throwsCode('ERR_DISPOSED', () => x.shape)
  throwsCode('ERR_DISPOSED', () => x.view(0, [1]))
  throwsCode('ERR_DISPOSED', () => x.upload(Float32Array.of(3)))
  await rejectsCode('ERR_DISPOSED', x.data())
  await rejectsCode('ERR_DISPOSED', x.bytes())
  assert.is(await y.item(), 2)
  y.dispose()
})

test('disposing does not reach work that is already enqueued', async () => {
  const x = Tensor.from(Float32Array.of(1, 2), [2])
  const reading = x.data()
  x.dispose()
  const y = Tensor.from(Float32Array.of(8, 9), [2])
  assert.equal(await reading, Float32Array.of(1, 2))
  y.dispose()
})

test('bad input is a coded error', async () => {
  const wrong = (value: unknown) => value as never
  throwsCode('ERR_DTYPE', () => Tensor.from(Uint16Array.of(1), [1]), /Uint16Array for dtype f32; say bf16 or f16/)
  throwsCode('ERR_DTYPE', () => Tensor.from(wrong([1, 2]), [2]), /data is a Array, expected Float32Array/)
  throwsCode('ERR_DTYPE', () => Tensor.from(wrong(undefined), [2]), /data is a undefined/)
  throwsCode(
    'ERR_DTYPE',
    () => Tensor.empty([1], { dtype: wrong('fp32') }),
    /dtype: "fp32" is unknown \(did you mean "f32"\?\)/,
  )
  const before = native.live()
  throwsCode('ERR_SHAPE', () => Tensor.from(Float32Array.of(1, 2), [3]), /upload: 8 bytes of f32 for a tensor of \[3\]/)
  assert.is(native.live(), before, 'the tensor it was for is freed')
  const two = Tensor.zeros([2])
  await rejectsCode('ERR_SHAPE', two.item())
  two.dispose()
  const meta = Tensor.zeros([2], { device: Device.get('meta') })
  await rejectsCode('ERR_DEVICE', meta.data())
  meta.dispose()
})

test('devices are known by name', () => {
  for (const name of ['gpu', 'cpu:1', 'meta:0', 'cuda:x', 'cuda:99999', ''])
    throwsCode('ERR_DEVICE', () => Device.get(name), /^device: "/)
  throwsCode('ERR_DEVICE', () => Device.get('cuda:4000'))
  assert.is(Device.get('cpu'), Device.get('cpu'))
  const x = Tensor.zeros([1], { device: Device.get('meta') })
  assert.is(x.device, Device.get('meta'))
  x.dispose()
})

test('data by kind: f32 of any floats, floats as they are, i32; axes by name', async () => {
  const wide = Tensor.from(Float64Array.of(1, 2, 0.1), [1, 3])
  const whole = Tensor.from(Int32Array.of(7), [1])
  assert.equal(await wide.f32(), Float32Array.of(1, 2, 0.1))
  assert.equal(await wide.floats(), Float64Array.of(1, 2, 0.1))
  assert.equal(await whole.i32(), Int32Array.of(7))
  const codeOf = (work: Promise<unknown>) =>
    work.then(
      () => undefined,
      (error: LowrankError) => error.code,
    )
  assert.is(await codeOf(whole.f32()), 'ERR_DTYPE')
  assert.is(await codeOf(wide.i32()), 'ERR_DTYPE')
  assert.equal([wide.rows, wide.columns, whole.rows], [1, 3, 1])
  assert.throws(() => whole.columns, /\[1\] has no axis 1/)
  for (const tensor of [wide, whole]) tensor.dispose()
})

test.run()
