// Finished runs as their folders tell them: what they came to, how they went, what they answered.

import { existsSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { readJsonl } from '../data/jsonl.ts'
import { check } from '../errors.ts'
import { isJsonObject, type JsonObject, readJson } from '../io/json.ts'
import { isNumbers } from '../options.ts'
import type { Point } from './chart.ts'

/** A run folder, read. */
export interface FinishedRun {
  /** The folder's name. */
  readonly name: string
  readonly task: string
  readonly method: string
  readonly base: string
  /** Of the texts of all splits; runs with another were scored on others. */
  readonly splitHash: string | undefined
  readonly split: string
  readonly examples: number
  readonly before: Readonly<Record<string, number>>
  readonly after: Readonly<Record<string, number>>
  /** Trainable parameters, seconds, bytes: what the run took. */
  readonly cost: Readonly<Record<'trainable' | 'total' | 'seconds' | 'steps' | 'peakBytes' | 'adapterBytes', number>>
  /** Values over optimizer steps, by name, e.g. `train/loss`; empty where the run kept no log. */
  readonly curves: ReadonlyMap<string, readonly Point[]>
  /** By example: whether the one class that was said is the right one; undefined for other tasks. */
  readonly right: readonly boolean[] | undefined
  readonly settings: JsonObject
}

/** Reads a folder that `lowrank train` finished. @throws ERR_OPTION for another folder; ERR_DATA for damaged files */
export async function readFinished(folder: string): Promise<FinishedRun> {
  const file = join(folder, 'metrics.json')
  check(existsSync(file), 'ERR_OPTION', () => {
    const what = existsSync(folder) ? 'has no metrics.json' : 'does not exist'
    return `report: ${folder} ${what}; name folders of finished runs, as lowrank train writes them`
  })
  const found = readJson(file, 'ERR_DATA')
  check(isJsonObject(found) && isNumbers(found.after), 'ERR_DATA', () => {
    return `report: ${file} tells no scores; name a run that was evaluated`
  })
  const { before, settings, after } = found
  const number = (key: string) => (typeof found[key] === 'number' ? found[key] : Number.NaN)
  const text = (key: string) => (typeof found[key] === 'string' ? found[key] : '')
  return {
    name: basename(resolve(folder)),
    task: text('task'),
    method: text('method'),
    base: basename(text('base')),
    splitHash: text('splitHash') || undefined,
    split: text('split'),
    examples: number('examples'),
    before: isNumbers(before) ? before : {},
    after,
    cost: {
      trainable: number('trainable'),
      total: number('total'),
      seconds: number('seconds'),
      steps: number('steps'),
      peakBytes: number('peakBytes'),
      adapterBytes: number('adapterBytes'),
    },
    curves: await readCurves(join(folder, 'log.jsonl')),
    right: await readAnswers(join(folder, 'predictions.jsonl')),
    settings: isJsonObject(settings) ? settings : {},
  }
}

async function readCurves(file: string): Promise<ReadonlyMap<string, readonly Point[]>> {
  const curves = new Map<string, Point[]>()
  if (!existsSync(file)) return curves
  for await (const { values } of readJsonl(file)) {
    const { event, step, time: _, ...scalars } = values
    if (event !== 'scalars' || typeof step !== 'number') continue
    for (const [name, value] of Object.entries(scalars)) {
      if (typeof value !== 'number') continue
      const points = curves.get(name) ?? []
      curves.set(name, points)
      // A step that is told twice, after the epoch and at the end, counts as it was told last.
      if (points.at(-1)?.[0] === step) points.pop()
      points.push([step, value])
    }
  }
  return curves
}

async function readAnswers(file: string): Promise<readonly boolean[] | undefined> {
  if (!existsSync(file)) return undefined
  const right: boolean[] = []
  for await (const { values } of readJsonl(file)) {
    const { label, gold } = values
    if (typeof label !== 'string' || typeof gold !== 'string') return undefined
    right.push(label === gold)
  }
  return right
}
