import { spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { crc32c, maskedCrc32c } from '../../lib/trackers/crc32c.ts'
import { frameRecord, tensorboardTracker } from '../../lib/trackers/tensorboard.ts'
import { inTemporaryFolder } from './temporary.ts'

const ascii = (text: string) => Buffer.from(text, 'ascii')

test('CRC-32C has the check value and the vectors of RFC 3720', () => {
  assert.is(crc32c(ascii('123456789')), 0xe3069283)
  assert.is(crc32c(new Uint8Array(32)), 0x8a9136aa)
  assert.is(crc32c(new Uint8Array(32).fill(255)), 0x62a8ab43)
  assert.is(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e)
  assert.is(crc32c(Uint8Array.from({ length: 32 }, (_, i) => 31 - i)), 0x113fdb5c)
  assert.is(crc32c(new Uint8Array(0)), 0)
})

test('the mask rotates right by 15 and adds its constant', () => {
  // 0xe3069283 rotated right by 15 bits is 0x2507c60d.
  assert.is(maskedCrc32c(ascii('123456789')), (0x2507c60d + 0xa282ead8) % 2 ** 32)
})

// A reader of its own: wire types 0, 1, 2, 5, nested by demand. Field 5 of message 2 is `get(bytes, 2, 5)`.
type Field = { field: number; value: number | bigint | Buffer }

// The checksum bit by bit over the message, with no table, so that it shares nothing with the writer's.
function slowMaskedCrc(bytes: Buffer): number {
  let crc = 0xffffffffn
  for (const byte of bytes)
    for (let bit = 0n; bit < 8n; bit++) {
      const carry = (crc ^ (BigInt(byte) >> bit)) & 1n
      crc = (crc >> 1n) ^ (carry * 0x82f63b78n)
    }
  crc ^= 0xffffffffn
  return Number((((crc >> 15n) | (crc << 17n)) + 0xa282ead8n) & 0xffffffffn)
}

function records(file: Buffer): Buffer[] {
  const out: Buffer[] = []
  for (let at = 0; at < file.length; ) {
    const length = Number(file.readBigUInt64LE(at))
    assert.is(file.readUInt32LE(at + 8), slowMaskedCrc(file.subarray(at, at + 8)), 'length CRC')
    const payload = file.subarray(at + 12, at + 12 + length)
    assert.is(file.readUInt32LE(at + 12 + length), slowMaskedCrc(payload), 'payload CRC')
    out.push(payload)
    at += 16 + length
  }
  return out
}

function fields(message: Buffer): Field[] {
  let at = 0
  const varint = () => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at++]!
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return value
    }
  }
  const out: Field[] = []
  while (at < message.length) {
    const key = Number(varint())
    const field = key >> 3
    const wire = key & 7
    if (wire === 0) {
      out.push({ field, value: varint() })
      continue
    }
    const length = wire === 1 ? 8 : wire === 5 ? 4 : Number(varint())
    const bytes = message.subarray(at, at + length)
    at += length
    out.push({ field, value: wire === 1 ? bytes.readDoubleLE() : wire === 5 ? bytes.readFloatLE() : bytes })
  }
  return out
}

function get(message: Buffer, ...path: number[]): Field['value'] | undefined {
  let value: Field['value'] | undefined = message
  for (const field of path) {
    if (!Buffer.isBuffer(value)) return undefined
    value = fields(value).find(entry => entry.field === field)?.value
  }
  return value
}

const textAt = (message: Buffer, ...path: number[]) => String(get(message, ...path))

function readEvents(folder: string): Buffer[] {
  const names = readdirSync(folder)
  assert.is(names.length, 1)
  assert.match(names[0]!, /^events\.out\.tfevents\.\d{10}\..+\.\d+\.\d+$/)
  return records(readFileSync(join(folder, names[0]!)))
}

test('a frame is length, CRC, payload, CRC', () => {
  const frame = Buffer.from(frameRecord(ascii('abc')))
  assert.is(frame.length, 19)
  assert.equal(records(frame), [Buffer.from('abc')])
})

test('events decode: version, hyper-parameters, scalars, text, histogram', () =>
  inTemporaryFolder(folder => {
    const tracker = tensorboardTracker(folder, { scalarStyle: 'tensor', now: () => 1234.5 })
    tracker.start({ hyperparameters: { learningRate: 3e-4, method: 'lora', bias: true }, metrics: ['eval/f1'] })
    tracker.scalars(0, { 'train/loss': 2.5 })
    tracker.scalars(300, { 'train/loss': 0.125, 'eval/f1': Number.NaN })
    tracker.text!(300, 'sample', 'café **bold**')
    tracker.histogram!(301, 'lora/scale', [1, 2, 2, 3, Number.POSITIVE_INFINITY])
    tracker.finish()
    const [version, start, zero, step, text, histogram, end, ...more] = readEvents(folder)
    assert.is(more.length, 0)
    assert.is(get(version!, 1), 1234.5)
    assert.is(textAt(version!, 3), 'brain.Event:2')
    assert.is(textAt(start!, 5, 1, 1), '_hparams_/experiment')
    const [experiment, session] = fields(get(start!, 5) as Buffer).map(entry => entry.value as Buffer)
    assert.is(textAt(experiment!, 9, 1, 1), 'hparams')
    const infos = fields(get(experiment!, 9, 1, 2, 2) as Buffer).filter(entry => entry.field === 4)
    assert.equal(
      infos.map(entry => [textAt(entry.value as Buffer, 1), get(entry.value as Buffer, 4)]),
      [
        ['learningRate', 3n],
        ['method', 1n],
        ['bias', 2n],
      ],
    )
    assert.is(textAt(experiment!, 9, 1, 2, 2, 5, 1, 2), 'eval/f1')
    assert.is(get(session!, 9, 1, 2, 3, 1, 2, 2), 3e-4)
    assert.is(get(zero!, 2), undefined, 'step 0 is left out')
    assert.is(get(step!, 2), 300n)
    const values = fields(get(step!, 5) as Buffer).map(entry => entry.value as Buffer)
    assert.equal(
      values.map(value => [textAt(value, 1), textAt(value, 9, 1, 1), get(value, 9, 4), get(value, 8, 1)]),
      [
        ['train/loss', 'scalars', 1n, 1n],
        ['eval/f1', 'scalars', 1n, 1n],
      ],
    )
    assert.is((get(values[0]!, 8, 5) as Buffer).readFloatLE(0), 0.125)
    assert.ok(Number.isNaN((get(values[1]!, 8, 5) as Buffer).readFloatLE(0)))
    assert.is(textAt(text!, 5, 1, 1), 'sample/text_summary')
    assert.is(textAt(text!, 5, 1, 8, 8), 'café **bold**')
    assert.equal(
      [1, 2, 3, 4, 5].map(field => get(histogram!, 5, 1, 5, field)),
      [1, 3, 4, 8, 18],
    )
    const doubles = (path: number) => {
      const bytes = get(histogram!, 5, 1, 5, path) as Buffer
      return Array.from({ length: bytes.length / 8 }, (_, i) => bytes.readDoubleLE(8 * i))
    }
    assert.is(doubles(6).length, doubles(7).length)
    assert.is(doubles(6).at(-1), 3)
    assert.is(
      doubles(7).reduce((a, b) => a + b),
      4,
    )
    assert.is(get(end!, 5, 1, 9, 1, 2, 4, 1), 1n)
  }))

test('a file is complete after every call, and the simple style holds a float', () =>
  inTemporaryFolder(folder => {
    const tracker = tensorboardTracker(folder)
    tracker.start({ hyperparameters: {}, firstStep: 40 })
    assert.is(get(readEvents(folder)[1]!, 7, 1), 1n, 'a resumed run says where it starts')
    assert.is(get(readEvents(folder)[1]!, 2), 40n)
    for (let step = 40; step < 50; step++) {
      tracker.scalars(step, { loss: step / 8 })
      assert.is(get(readEvents(folder).at(-1)!, 5, 1, 2), step / 8)
    }
    tracker.finish('failed')
  }))

test('misuse and unwritable folders are coded errors', () =>
  inTemporaryFolder(folder => {
    const tracker = tensorboardTracker(folder)
    assert.throws(() => tracker.scalars(1, { loss: 1 }), /before start/)
    tracker.start({ hyperparameters: {} })
    assert.throws(() => tracker.histogram!(1, 'x', [Number.NaN]), /no finite value among 1/)
    tracker.finish()
    assert.throws(() => tensorboardTracker('/dev/null/x').start({ hyperparameters: {} }), /cannot be opened/)
  }))

const python = process.env.LOWRANK_PYTHON ?? 'python3'
const reader = `
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util
acc = EventAccumulator(sys.argv[1], size_guidance={'tensors': 0, 'scalars': 0, 'histograms': 0}).Reload()
tensor = lambda tag: [[e.step, tensor_util.make_ndarray(e.tensor_proto).tolist()] for e in acc.Tensors(tag)]
h = acc.Histograms('lora/scale')[0].histogram_value
print(json.dumps({
  'version': acc.file_version, 'loss': tensor('train/loss'),
  'text': [[e.step, tensor_util.make_ndarray(e.tensor_proto)[0].decode()] for e in acc.Tensors('note/text_summary')],
  'histogram': [h.min, h.max, h.num, h.sum],
  'hparams': sorted(acc.PluginTagToContent('hparams')),
  'simple': [[e.step, e.value] for e in acc.Scalars('simple')],
}))`

const probe = spawnSync(python, ['-c', 'import tensorboard'], { encoding: 'utf8' })
const withPython = probe.status === 0 ? test : test.skip
if (probe.status !== 0)
  console.log(`skip: TensorBoard reads our files (no tensorboard in ${python}; set LOWRANK_PYTHON)`)

withPython("TensorBoard's own EventAccumulator reads every kind", () =>
  inTemporaryFolder(folder => {
    const tracker = tensorboardTracker(folder, { scalarStyle: 'tensor' })
    tracker.start({ hyperparameters: { rank: 8, method: 'lora', rslora: false }, metrics: ['eval/f1'] })
    for (let step = 0; step < 100; step++) tracker.scalars(step, { 'train/loss': 1 / (1 + step) })
    tracker.text!(5, 'note', 'héllo')
    tracker.histogram!(5, 'lora/scale', [1, 2, 3])
    tracker.finish()
    const old = tensorboardTracker(folder, { now: () => Date.now() / 1000 + 10 })
    old.start({ hyperparameters: {} })
    old.scalars(3, { simple: 0.5 })
    old.finish()
    const result = spawnSync(python, ['-c', reader, folder], { encoding: 'utf8' })
    assert.is(result.status, 0, result.stderr)
    const read = JSON.parse(result.stdout) as Record<string, unknown> & { loss: [number, number][] }
    assert.is(read.version, 2)
    assert.is(read.loss.length, 100)
    for (const [step, value] of read.loss) assert.is(value, Math.fround(1 / (1 + step)))
    assert.equal(read.text, [[5, 'héllo']])
    assert.equal(read.histogram, [1, 3, 3, 6])
    assert.equal(read.simple, [[3, 0.5]])
    assert.equal(read.hparams, ['_hparams_/experiment', '_hparams_/session_end_info', '_hparams_/session_start_info'])
  }),
)

test.run()
