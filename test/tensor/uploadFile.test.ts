import { closeSync, openSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Tensor } from '../../lib/tensor.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** A file of `before` bytes and then `data`, open for reading. */
function fileOf(data: Float32Array | Uint16Array, before: number) {
  const path = join(temporaryFolder(), 'data')
  const bytes = Buffer.concat([Buffer.alloc(before, 1), Buffer.from(data.buffer)])
  writeFileSync(path, bytes)
  const file = openSync(path, 'r')
  return { path, range: { file, position: before, bytes: bytes.length - before, fileSize: bytes.length } }
}

test('bytes from any place in a file', async () => {
  const values = Float32Array.from({ length: 5000 }, (_, i) => Math.sin(i))
  for (const before of [0, 3, 4096, 5001]) {
    const { range } = fileOf(values, before)
    const x = Tensor.zeros([50, 100])
    assert.ok(x.uploadFile(range, 'f32'))
    closeSync(range.file)
    assert.equal(await x.data(), values, `${before} bytes before`)
    x.dispose()
  }
})

test('a narrower dtype is converted on the way', async () => {
  const bits = Uint16Array.of(0x3f80, 0xc000, 0x3e80)
  const { range } = fileOf(bits, 5)
  const x = Tensor.zeros([3])
  assert.ok(x.uploadFile(range, 'bf16'))
  assert.equal(await x.data(), Float32Array.of(1, -2, 0.25))
  closeSync(range.file)
  x.dispose()
})

test('NaN and infinity are refused, wherever they are', async () => {
  for (const [at, value] of [
    [0, Number.NaN],
    [2999, Number.POSITIVE_INFINITY],
    [1024, Number.NEGATIVE_INFINITY],
  ] as const) {
    const values = new Float32Array(3000).fill(2)
    values[at] = value
    const { range } = fileOf(values, 7)
    const x = Tensor.zeros([3000])
    assert.not(x.uploadFile(range, 'f32'))
    assert.is((await x.data())[0], 0, 'nothing was copied')
    closeSync(range.file)
    x.dispose()
  }
})

test('a file that was cut since, a range outside it, another size', () => {
  const { path, range } = fileOf(new Float32Array(100), 8)
  const x = Tensor.zeros([100])
  assert.throws(() => x.uploadFile({ ...range, position: 12 }, 'f32'), /bytes 12 to 412 of a file of 408/)
  assert.throws(() => x.uploadFile(range, 'bf16'), /400 bytes of bf16 for a tensor of/)
  truncateSync(path, 200)
  assert.throws(() => x.uploadFile(range, 'f32'), /had 408 bytes when opened, has 200 now/)
  closeSync(range.file)
  assert.throws(() => x.uploadFile(range, 'f32'), /ERR_OPTION|the file is not open/)
  x.dispose()
})

test.run()
