import { appendFileSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import { storageBits } from '../../lib/io/dtype.ts'
import {
  byteSize,
  openCheckpoint,
  openSafetensors,
  type StorageDtype,
  type TensorToWrite,
  writeSafetensors,
} from '../../lib/io/safetensors.ts'
import { refused as refusedWith } from '../support/refused.ts'
import { shared } from '../support/shared.ts'
import { temporaryFolder } from '../support/temporary.ts'

const dir = temporaryFolder()

const golden = (name: string) => fileURLToPath(new URL(`../golden/io/${name}`, import.meta.url))

/** A file of this header text and as many data bytes. */
function file(header: string | Uint8Array, dataBytes = 0, length?: bigint): string {
  const path = join(dir, 'case.safetensors')
  const bytes = Buffer.from(header)
  const prefix = Buffer.alloc(8)
  prefix.writeBigUInt64LE(length ?? BigInt(bytes.byteLength))
  writeFileSync(path, Buffer.concat([prefix, bytes, Buffer.alloc(dataBytes)]))
  return path
}

const refused = (run: () => unknown, ...words: string[]) => refusedWith(run, 'ERR_CHECKPOINT', ...words)

const entry = (begin: number, end: number, shape = `[${(end - begin) / 4}]`, dtype = 'F32') =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`

test("bytes equal the Python library's, whatever the order given", async () => {
  for (const name of ['dtypes.safetensors', 'empty.safetensors']) {
    const source = openSafetensors(golden(name))
    const tensors: TensorToWrite[] = source.names().map(tensor => {
      const { dtype, shape } = source.info(tensor)
      return { name: tensor, dtype, shape, data: () => source.read(tensor) }
    })
    const path = join(dir, 'copy.safetensors')
    for (const order of [tensors, [...tensors].reverse()]) {
      await writeSafetensors(path, order, name === 'dtypes.safetensors' ? source.metadata : undefined)
      assert.ok(readFileSync(path).equals(readFileSync(golden(name))), name)
    }
    assert.is(statSync(path).mode & 0o777, 0o644)
    source.close()
  }
})

test('reads names, shapes, values and metadata', () => {
  const source = openSafetensors(golden('dtypes.safetensors'))
  assert.equal(source.metadata, { format: 'pt' })
  assert.is(source.tensors.size, 28)
  assert.equal(source.info('scalar').shape, [])
  assert.equal([...source.readF32('scalar')], [2.5])
  assert.is(source.readF32('none').length, 0)
  assert.equal([...source.readF32('layer.10.w')], [0, 1, 2, 3, 4, 5])
  assert.ok(source.has('grüße "\\ \n\x1f\x7f'))
  refused(() => source.read('nothing'), 'nothing', '28')
  assert.throws(
    () => source.readF32('int32'),
    (thrown: unknown) => thrown instanceof LowrankError && thrown.code === 'ERR_DTYPE' && /I32/.test(thrown.message),
  )
  source.close()
  source.close()
  assert.throws(
    () => source.read('a'),
    (thrown: unknown) => thrown instanceof LowrankError && thrown.code === 'ERR_DISPOSED',
  )
})

test('malformed headers are refused with file, tensor and both values', () => {
  const two = `{"a":${entry(0, 8)},"b":${entry(8, 16)}}`
  openSafetensors(file(two, 16)).close()
  const cases: [header: string | Uint8Array, dataBytes: number, ...words: string[]][] = [
    [two, 15, 'truncated', '16', '15'],
    [two, 17, 'no tensor owns', '16', '17'],
    [`{"a":${entry(0, 8)},"b":${entry(4, 12)}}`, 12, '"b"', 'overlaps tensor "a"', '4', '8'],
    [`{"a":${entry(0, 8)},"b":${entry(12, 16)}}`, 16, '"b"', 'hole', '12', '8'],
    [`{"a":${entry(4, 8)}}`, 8, '"a"', 'hole', '4'],
    [`{"a":${entry(0, 8, '[3]')}}`, 8, '"a"', '12', '8'],
    [`{"a":${entry(0, 8, '[2]', 'F16')}}`, 8, '"a"', 'F16', '4', '8'],
    [`{"a":${entry(8, 0, '[2]')}}`, 8, '"a"'],
    [`{"a":${entry(0, 0, '[4294967296,4294967296,4294967296]')}}`, 0, '"a"', '2^53'],
    [`{"a":${entry(0, 0, '[9007199254740993]')}}`, 0, '"a"', 'shape', '9007199254740993'],
    [`{"a":${entry(0, 0, '[18446744073709551616]')}}`, 0, '"a"', 'shape'],
    [`{"a":${entry(0, 1, '[3]', 'F4')}}`, 1, '"a"', 'whole'],
    [`{"a":${entry(0, 8, '[-2]')}}`, 8, '"a"', 'shape', '-2'],
    [`{"a":${entry(0, 8, '[2.0]')}}`, 8, '"a"', 'shape'],
    [`{"a":${entry(0, 8, '["2"]')}}`, 8, '"a"', 'shape'],
    [`{"a":${entry(0, 8, '2')}}`, 8, '"a"', 'shape'],
    [`{"a":${entry(0, 8, '[2]', 'F33')}}`, 8, '"a"', 'F33', 'BF16'],
    ['{"a":{"dtype":"F32","shape":[2]}}', 8, '"a"', 'data_offsets', 'missing'],
    ['{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,16]}}', 8, '"a"', '[0,8,16]'],
    ['{"a":[1]}', 0, '"a"', 'not an object'],
    ['{"a":null}', 0, '"a"', 'null'],
    [`{"a":${entry(0, 8)},"a":${entry(0, 8)}}`, 8, '"a" twice'],
    [`{"a":${entry(0, 8)},"\\u0061":${entry(8, 16)}}`, 16, '"a" twice'],
    ['{"a":{"dtype":"F32","dtype":"F32","shape":[0],"data_offsets":[0,0]}}', 0, '"dtype" twice'],
    ['{"__metadata__":{"k":1}}', 0, '__metadata__', '"k"', '1'],
    ['{"__metadata__":["k"]}', 0, '__metadata__'],
    ['{"__metadata__":{"k":"1","k":"2"}}', 0, '"k" twice'],
    [` ${two}`, 16, 'starts with byte 32'],
    ['[]', 0, 'not with "{"'],
    [`${two}\0\0`, 16, 'after its end'],
    [`${two}}`, 16, 'after its end'],
    ['{"a":', 0, 'damaged'],
    [Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x7d]), 0, 'UTF-8'],
    ['', 0, '0 bytes'],
  ]
  for (const [header, dataBytes, ...words] of cases)
    refused(() => openSafetensors(file(header, dataBytes)), 'case.safetensors', ...words)
})

test('header lengths past the file or the format are refused without an allocation', () => {
  const before = process.memoryUsage().arrayBuffers
  refused(() => openSafetensors(file('{}', 0, 3n)), 'truncated')
  refused(() => openSafetensors(file('{}', 0, 99_999_999n)), 'truncated', '99999999')
  refused(() => openSafetensors(file('{}', 0, 100_000_001n)), '100000000')
  refused(() => openSafetensors(file('{}', 0, 2n ** 64n - 1n)), '18446744073709551615')
  assert.ok(process.memoryUsage().arrayBuffers - before < 1 << 20)
  const short = join(dir, 'short')
  for (const bytes of [0, 7]) {
    writeFileSync(short, Buffer.alloc(bytes))
    refused(() => openSafetensors(short), `${bytes} bytes`)
  }
  refused(() => openSafetensors(join(dir, 'absent')), 'no such file')
  refused(() => openSafetensors(dir), 'folder')
})

test('what the format allows is read', () => {
  for (const header of [
    `{"b":${entry(8, 16)},"a":${entry(0, 8)}}`,
    `{"a":${entry(0, 16, '[2,2]')}} \t\n\r`,
    `{"__metadata__":null,"a":${entry(0, 16)}}`,
    `{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16],"extra":[1.5]}}`,
    `{"z":${entry(0, 0, '[0,7]')},"a":${entry(0, 16)},"y":${entry(16, 16, '[0]')}}`,
    `{"a":${entry(0, 16, '[32]', 'F4')}}`,
    `{"__proto__":${entry(0, 16)}}`,
  ]) {
    const source = openSafetensors(file(header, 16))
    for (const name of source.names()) source.read(name)
    source.close()
  }
})

test('a file cut or grown while open is noticed', () => {
  for (const change of [
    (path: string) => truncateSync(path, statSync(path).size - 1),
    (path: string) => appendFileSync(path, 'x'),
  ]) {
    const path = file(`{"a":${entry(0, 8)}}`, 8)
    const source = openSafetensors(path)
    change(path)
    refused(() => source.read('a'), 'when opened')
    source.close()
  }
})

test('writing checks names, shapes and byte counts', async () => {
  const path = join(dir, 'bad.safetensors')
  const good: TensorToWrite = { name: 'a', dtype: 'F32', shape: [2], data: new Float32Array(2) }
  const cases: [TensorToWrite[], string][] = [
    [[good, good], 'twice'],
    [[{ ...good, name: '__metadata__' }], 'twice'],
    [[{ ...good, name: '\ud800' }], 'no text'],
    [[{ ...good, shape: [3] }], '12'],
    [[{ ...good, shape: [-1] }], '[-1]'],
    [[{ ...good, shape: [0.5] }], '[0.5]'],
    [[{ ...good, dtype: 'F4', shape: [3] }], '[3]'],
  ]
  for (const [tensors, word] of cases) {
    const thrown = await writeSafetensors(path, tensors).catch((error: unknown) => error)
    refused(() => {
      throw thrown
    }, word)
  }
  assert.throws(() => statSync(path))
})

test('shards: read through the index, and every fault of it named', async () => {
  const folder = join(dir, 'sharded')
  mkdirSync(folder, { recursive: true })
  const index = (map: unknown) =>
    writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ metadata: {}, weight_map: map }))
  const shard = (name: string, value: number) =>
    writeSafetensors(join(folder, name), [
      { name: `w${value}`, dtype: 'F32', shape: [1], data: Float32Array.of(value) },
    ])
  refused(() => openCheckpoint(folder), 'neither')
  writeFileSync(join(folder, 'pytorch_model.bin'), '')
  refused(() => openCheckpoint(folder), 'no zip archive')
  await shard('model-00001-of-00002.safetensors', 1)
  await shard('model-00002-of-00002.safetensors', 2)
  await shard('../outside.safetensors', 3)
  index({ w1: 'model-00001-of-00002.safetensors', w2: 'model-00002-of-00002.safetensors' })
  const source = openCheckpoint(folder)
  assert.equal(source.names(), ['w1', 'w2'])
  assert.equal([...source.readF32('w2')], [2])
  refused(() => source.info('w3'), 'w3')
  source.close()
  index({ w1: 'model-00001-of-00002.safetensors', w9: 'model-00002-of-00002.safetensors' })
  refused(() => openCheckpoint(folder), 'w9', 'lacks')
  index({ w1: 'model-00009-of-00002.safetensors' })
  refused(() => openCheckpoint(folder), 'model-00009-of-00002.safetensors', 'missing')
  for (const name of ['../outside.safetensors', '..', '', 'a\\b.safetensors', join(dir, 'outside.safetensors')]) {
    index({ w3: name })
    refused(() => openCheckpoint(folder), 'plain file name')
  }
  index({ w1: 7 })
  refused(() => openCheckpoint(folder), 'w1', '7')
  index([])
  refused(() => openCheckpoint(folder), 'weight_map')
  writeFileSync(join(folder, 'model.safetensors.index.json'), '{')
  refused(() => openCheckpoint(folder), 'index.json')
})

test('real weights open and decode', () => {
  const folder = shared('weights/minibert-own')
  if (!folder) return console.log('skipped: weights/minibert-own is not here')
  const source = openCheckpoint(folder)
  const values = source.readF32('bert.embeddings.word_embeddings.weight')
  assert.is(values.length, 8192 * 128)
  assert.ok(values.every(Number.isFinite))
  source.close()
})

const dtypes = Object.keys(storageBits) as StorageDtype[]
const arbitraryTensors = fc.uniqueArray(
  fc.record({
    name: fc.string({ unit: 'grapheme', maxLength: 12 }).filter(name => name !== '__metadata__'),
    dtype: fc.constantFrom(...dtypes.filter(dtype => storageBits[dtype] % 8 === 0)),
    shape: fc.array(fc.nat(4), { maxLength: 4 }),
    seed: fc.nat(255),
  }),
  { selector: tensor => tensor.name, maxLength: 6 },
)

test('arbitrary tensors survive a round trip', async () => {
  const path = join(dir, 'trip.safetensors')
  await fc.assert(
    fc.asyncProperty(arbitraryTensors, async drawn => {
      const tensors = drawn.map(({ seed, ...rest }) => {
        return { ...rest, data: new Uint8Array(byteSize(rest.dtype, rest.shape)!).map((_, i) => seed + 31 * i) }
      })
      await writeSafetensors(path, tensors, { format: 'pt' })
      const source = openSafetensors(path)
      assert.equal(source.names().sort(), tensors.map(tensor => tensor.name).sort())
      for (const { name, dtype, shape, data } of tensors) {
        assert.equal([source.info(name).dtype, [...source.info(name).shape]], [dtype, shape])
        assert.ok(Buffer.from(source.read(name)).equals(data))
      }
      source.close()
    }),
    { numRuns: 100 },
  )
})

test('fuzz: nothing but LowrankError comes out, and nothing large is allocated', () => {
  const path = join(dir, 'fuzz.safetensors')
  const whole = readFileSync(golden('dtypes.safetensors'))
  const patches = fc.array(fc.tuple(fc.nat(whole.length), fc.uint8Array({ maxLength: 9 })), {
    minLength: 1,
    maxLength: 4,
  })
  const mutated = fc.tuple(patches, fc.nat(40), fc.boolean()).map(([list, cut, cuts]) => {
    const bytes = Buffer.from(whole)
    for (const [at, patch] of list) bytes.set(patch.subarray(0, Math.max(0, bytes.length - at)), at)
    return cuts ? bytes.subarray(0, bytes.length - cut) : bytes
  })
  const number = fc.oneof(fc.nat(40), fc.integer(), fc.double(), fc.constantFrom(2 ** 31, 2 ** 53, 1e300))
  const header = fc
    .dictionary(
      fc.constantFrom('a', 'b', '__metadata__', '__proto__', ''),
      fc.oneof(
        fc.record(
          {
            dtype: fc.constantFrom(...dtypes),
            shape: fc.array(number, { maxLength: 3 }),
            data_offsets: fc.tuple(number, number),
          },
          { requiredKeys: [] },
        ),
        fc.jsonValue(),
      ),
    )
    .map(value => {
      const json = Buffer.from(JSON.stringify(value))
      const prefix = Buffer.alloc(8)
      prefix.writeBigUInt64LE(BigInt(json.length))
      return Buffer.concat([prefix, json, Buffer.alloc(16)])
    })
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 64 }), mutated, header), bytes => {
      writeFileSync(path, bytes)
      const before = process.memoryUsage().arrayBuffers
      try {
        const source = openSafetensors(path)
        for (const name of source.names()) source.read(name)
        source.close()
      } catch (error) {
        assert.instance(error, LowrankError, String(error))
      }
      assert.ok(process.memoryUsage().arrayBuffers - before < 1 << 22)
    }),
    { numRuns: 1500 },
  )
})

test.run()
