// Tracker that writes one JSON object a line.

import { closeSync, openSync, readSync, statSync } from 'node:fs'
import { check } from '../errors.ts'
import { nonFiniteAsText } from '../io/json.ts'
import { checkOptions } from '../options.ts'
import { type AppendFile, appendFile } from './appendFile.ts'
import { momentsOf } from './moments.ts'
import type { RunDescription, RunStatus, Tracker } from './tracker.ts'

// A process killed while writing leaves half a line; the next record must not continue it.
function endsInsideLine(path: string): boolean {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  if (size === 0) return false
  const descriptor = openSync(path, 'r')
  const last = Buffer.alloc(1)
  readSync(descriptor, last, 0, 1, size - 1)
  closeSync(descriptor)
  return last[0] !== 10
}

/**
 * Appends lines `{"event":"start"|"scalars"|"histogram"|"text"|"finish","time":…,"step":…,…}` to `path`; `time` is in
 * seconds since 1970. NaN and infinities are the strings "NaN", "Infinity", "-Infinity". A resumed run appends to the
 * same file; its start line holds `firstStep`, and earlier lines at or past that step are superseded.
 */
export function jsonlTracker(path: string, options: { now?: () => number } = {}): Tracker {
  checkOptions('jsonlTracker', options, { now: true })
  const { now = () => Date.now() / 1000 } = options
  let file: AppendFile | undefined
  const line = (event: string, fields: object) => {
    check(file, 'ERR_OPTION', () => `jsonl tracker: ${event} before start; call start(run) first`)
    file.write(Buffer.from(`${JSON.stringify({ event, time: now(), ...fields }, nonFiniteAsText)}\n`))
  }
  return {
    start(run: RunDescription) {
      const broken = endsInsideLine(path)
      file?.close()
      file = appendFile(path)
      if (broken) file.write(Buffer.from('\n'))
      line('start', run)
    },
    scalars(step, record) {
      line('scalars', { step, ...record })
    },
    histogram(step, name, values) {
      line('histogram', { step, name, ...summary(values) })
    },
    text(step, name, text) {
      line('text', { step, name, text })
    },
    finish(status: RunStatus = 'finished') {
      line('finish', { status })
      file?.close()
      file = undefined
    },
  }
}

function summary(values: ArrayLike<number>): { count: number; min: number; max: number; mean: number; std: number } {
  const { count, min, max, sum } = momentsOf(values)
  const mean = sum / count
  const { squares } = momentsOf(Array.from(values, value => value - mean))
  return { count, min, max, mean, std: Math.sqrt(squares / count) }
}
