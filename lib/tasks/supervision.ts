// What the labels of examples offer to a loss.

import type { Example } from '../data/example.ts'
import type { Model } from '../model.ts'
import { nth } from '../tuple.ts'
import { taskOfModel } from './index.ts'
import type { Task } from './task.ts'

/** Labels that count, and examples without any. */
interface SupervisionCount {
  /** Samples, tokens or elements. */
  readonly total: number
  /** Examples without any label that counts (all masked, or no label at all). */
  readonly without: number
}

/** Counts the labels that a loss will see. */
export function supervision({ head }: Pick<Model, 'head'>, examples: Iterable<Example>): SupervisionCount {
  let total = 0
  let without = 0
  for (const example of examples) {
    const weight = head.collate([example])?.weight ?? 0
    total += weight
    if (weight === 0) without++
  }
  return { total, without }
}

/** How often each class is a label of the examples; undefined where the task has no classes. */
export function classCounts(
  { classes }: Pick<Task, 'classes'>,
  examples: Iterable<Example>,
  count: number,
): Int32Array | undefined {
  if (!classes) return undefined
  const counts = new Int32Array(count)
  for (const { label } of examples) for (const id of classes(label)) counts[id]!++
  return counts
}

/** A class that is always right where it is the answer. */
export interface Majority {
  readonly label: string
  readonly accuracy: number
}

/** The most frequent training label, and how often it would be right; undefined where answers are no single class. */
export function majorityOf(
  model: Pick<Model, 'head' | 'labels'>,
  train: Iterable<Example>,
  judged: readonly { readonly gold: unknown }[],
): Majority | undefined {
  const task = taskOfModel(model)
  const counts = task.oneClass ? classCounts(task, train, model.labels.length) : undefined
  if (!counts) return undefined
  const id = counts.indexOf(counts.reduce((most, count) => Math.max(most, count), 0))
  const right = judged.filter(({ gold }) => gold === id).length
  return { label: nth(model.labels, id), accuracy: right / judged.length }
}
