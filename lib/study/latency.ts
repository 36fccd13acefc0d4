// What one text costs when a model answers.

import type { Example } from '../data/example.ts'
import type { List } from '../data/list.ts'
import { LowrankError } from '../errors.ts'
import type { Model } from '../model.ts'
import type { Adapter } from '../peft/index.ts'
import { predict } from '../train/evaluate.ts'
import type { TrainOptions } from '../train/events.ts'
import { median } from './statistics.ts'

/** Median milliseconds of one text alone: as trained, with the adapter merged, and of the base without it. */
export interface Latency {
  readonly unmerged: number
  /** Undefined where there is nothing to merge. */
  readonly merged: number | undefined
  readonly base: number
}

const TEXTS = 40

/** Times single texts, the three ways in turns, so that other work of the machine meets all of them alike. */
export async function measureLatency(
  model: Model,
  adapter: Adapter,
  examples: List<Example>,
  { transform, seed }: Pick<TrainOptions, 'transform' | 'seed'>,
): Promise<Latency> {
  const texts = examples.slice(0, TEXTS)
  const options = { batchSize: 1, transform, seed }
  const time = async (): Promise<number[]> => {
    const taken: number[] = []
    for (const text of texts) {
      const started = performance.now()
      for await (const _ of predict(model, [text], options));
      taken.push(performance.now() - started)
    }
    return taken
  }
  const found: Record<'unmerged' | 'merged' | 'base', number[]> = { unmerged: [], merged: [], base: [] }
  const isWhole = adapter.method.kind.peftType === undefined
  const layers = adapter.matched.some(({ path }) => adapter.carries(path))
  await time()
  for (let turn = 0; turn < 3; turn++) {
    found.unmerged.push(...(await time()))
    adapter.setActive(false)
    found.base.push(...(await time()))
    adapter.setActive(true)
    if (isWhole || !layers || !canMerge(adapter)) continue
    found.merged.push(...(await time()))
    adapter.unmerge()
  }
  const merged = found.merged.length > 0 ? median(found.merged) : undefined
  return { unmerged: median(found.unmerged), merged, base: median(found.base) }
}

/** Merges, where the method has something to merge. */
function canMerge(adapter: Adapter): boolean {
  try {
    adapter.merge()
    return true
  } catch (error) {
    if (error instanceof LowrankError && error.code === 'ERR_UNSUPPORTED') return false
    throw error
  }
}
