// TensorBoard event files: TFRecord framing around protocol-buffer Events. Field numbers are those of tensorflow's
// event.proto, summary.proto, tensor.proto and the hparams plugin's api.proto and plugin_data.proto.

import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { check } from '../errors.ts'
import { checkOptions } from '../options.ts'
import { type AppendFile, appendFile } from './appendFile.ts'
import { maskedCrc32c } from './crc32c.ts'
import { momentsOf } from './moments.ts'
import {
  bytesField,
  concat,
  doubleField,
  integerField,
  littleEndian,
  packedDoubles,
  packedFloats,
  stringField,
} from './protobuf.ts'
import type { RunDescription, RunStatus, Tracker } from './tracker.ts'

/** Options of {@link tensorboardTracker}; `now` gives seconds since 1970. */
export type TensorboardOptions = {
  /**
   * `simple` (default) writes `simple_value`, which TensorBoard, EventAccumulator's `Scalars()` and the scripts built
   * on it read; `tensor` writes scalars as TensorFlow 2 does.
   */
  scalarStyle?: 'tensor' | 'simple'
  now?: () => number
}

const DT_FLOAT = 1
const DT_STRING = 7
const DATA_CLASS = { scalar: 1, tensor: 2 } as const
const SESSION_START = 1
const hparamType = (value: string | number | boolean): number =>
  typeof value === 'string' ? 1 : typeof value === 'boolean' ? 2 : 3
// STATUS_SUCCESS, STATUS_FAILURE, STATUS_UNKNOWN: the protocol has no word for a run that was interrupted.
const HPARAM_STATUS = { finished: 1, failed: 2, stopped: 0 } as const

/** One TFRecord: length, its masked CRC, payload, its masked CRC. */
export function frameRecord(payload: Uint8Array): Uint8Array {
  const length = new Uint8Array(littleEndian(8, view => view.setBigUint64(0, BigInt(payload.length), true)))
  const crc = (bytes: Uint8Array) =>
    new Uint8Array(littleEndian(4, view => view.setUint32(0, maskedCrc32c(bytes), true)))
  return concat(length, crc(length), payload, crc(payload))
}

function metadata(plugin: string, dataClass?: number, content?: Uint8Array): Uint8Array {
  const data = bytesField(1, stringField(1, plugin), ...(content ? [bytesField(2, content)] : []))
  return bytesField(9, data, ...(dataClass === undefined ? [] : [integerField(4, dataClass)]))
}

function scalarValue(tag: string, value: number, style: 'tensor' | 'simple'): Uint8Array {
  if (style === 'simple') {
    const bits = littleEndian(4, view => view.setFloat32(0, value, true))
    return bytesField(1, stringField(1, tag), Uint8Array.from([(2 << 3) | 5]), new Uint8Array(bits))
  }
  const tensor = bytesField(8, integerField(1, DT_FLOAT), packedFloats(5, [value]))
  return bytesField(1, stringField(1, tag), tensor, metadata('scalars', DATA_CLASS.scalar))
}

function textValue(tag: string, text: string): Uint8Array {
  const shape = bytesField(2, bytesField(2, integerField(1, 1)))
  const tensor = bytesField(8, integerField(1, DT_STRING), shape, stringField(8, text))
  return bytesField(1, stringField(1, `${tag}/text_summary`), tensor, metadata('text', DATA_CLASS.tensor))
}

/** Equal-width buckets between the least and the greatest finite value; other values are counted in none. */
function histogramValue(tag: string, values: ArrayLike<number>, buckets = 30): Uint8Array {
  const finite = Array.from(values).filter(Number.isFinite)
  check(finite.length > 0, 'ERR_DATA', () => `histogram: ${tag} holds no finite value among ${values.length}`)
  const { min, max, sum, squares } = momentsOf(finite)
  const width = (max - min) / buckets || 1
  const counts = new Array<number>(max > min ? buckets : 1).fill(0)
  for (const value of finite) counts[Math.min(counts.length - 1, Math.floor((value - min) / width))]!++
  const limits = counts.map((_, b) => (b === counts.length - 1 ? max : min + (b + 1) * width))
  const histo = bytesField(
    5,
    doubleField(1, min),
    doubleField(2, max),
    doubleField(3, finite.length),
    doubleField(4, sum),
    doubleField(5, squares),
    packedDoubles(6, limits),
    packedDoubles(7, counts),
  )
  return bytesField(1, stringField(1, tag), histo)
}

function hparamValue(tag: string, content: Uint8Array): Uint8Array {
  return bytesField(1, stringField(1, tag), metadata('hparams', undefined, content))
}

function hparamsStart(run: RunDescription, time: number): Uint8Array[] {
  const entries = Object.entries(run.hyperparameters)
  const infos = entries.map(([name, value]) => bytesField(4, stringField(1, name), integerField(4, hparamType(value))))
  const metrics = (run.metrics ?? []).map(tag => bytesField(5, bytesField(1, stringField(2, tag))))
  const values = entries.map(([name, value]) => bytesField(1, stringField(1, name), bytesField(2, protoValue(value))))
  return [
    hparamValue('_hparams_/experiment', bytesField(2, doubleField(3, time), ...infos, ...metrics)),
    hparamValue('_hparams_/session_start_info', bytesField(3, ...values, doubleField(5, time))),
  ]
}

// google.protobuf.Value: number 2, string 3, bool 4.
function protoValue(value: string | number | boolean): Uint8Array {
  if (typeof value === 'number') return doubleField(2, value)
  return typeof value === 'boolean' ? integerField(4, value ? 1 : 0) : stringField(3, value)
}

/**
 * Writes `events.out.tfevents.<seconds>.<host>.<pid>.<unique>` into `folder`, a new file for each start. Tags with a
 * slash (`train/loss`) are grouped by TensorBoard. A resumed run begins with a session-start event, on which readers
 * drop what an interrupted run wrote at or past its first step.
 */
export function tensorboardTracker(folder: string, options: TensorboardOptions = {}): Tracker {
  checkOptions('tensorboardTracker', options, { scalarStyle: true, now: true })
  const { scalarStyle = 'simple', now = () => Date.now() / 1000 } = options
  let file: AppendFile | undefined
  const event = (step: number, ...fields: Uint8Array[]) => {
    check(file, 'ERR_OPTION', () => 'tensorboard tracker: written to before start; call start(run) first')
    const stepField = step === 0 ? [] : [integerField(2, step)]
    file.write(frameRecord(concat(doubleField(1, now()), ...stepField, ...fields)))
  }
  const summary = (step: number, ...values: Uint8Array[]) => event(step, bytesField(5, ...values))
  return {
    start(run) {
      const seconds = now()
      const stamp = String(Math.floor(seconds)).padStart(10, '0')
      const unique = randomBytes(4).readUInt32LE()
      file?.close()
      file = appendFile(join(folder, `events.out.tfevents.${stamp}.${hostname()}.${process.pid}.${unique}`))
      event(0, stringField(3, 'brain.Event:2'), bytesField(10, stringField(1, 'lowrank')))
      if (run.firstStep) event(run.firstStep, bytesField(7, integerField(1, SESSION_START)))
      summary(0, ...hparamsStart(run, seconds))
    },
    scalars(step, record) {
      const values = Object.entries(record).map(([tag, value]) => scalarValue(tag, value, scalarStyle))
      if (values.length > 0) summary(step, ...values)
    },
    histogram(step, name, values) {
      summary(step, histogramValue(name, values))
    },
    text(step, name, text) {
      summary(step, textValue(name, text))
    },
    finish(status: RunStatus = 'finished') {
      const end = bytesField(4, integerField(1, HPARAM_STATUS[status]), doubleField(2, now()))
      summary(0, hparamValue('_hparams_/session_end_info', end))
      file?.close()
      file = undefined
    },
  }
}
