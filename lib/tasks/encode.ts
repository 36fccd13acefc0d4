import type { Example } from '../data/example.ts'
import type { Row } from '../data/row.ts'
import type { Transform } from '../data/transform.ts'
import { check } from '../errors.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { taskOf } from './index.ts'
import type { TaskChoice } from './infer.ts'
import type { EncodeSpec, Task, TransformOptions } from './task.ts'

/** Encoded rows, in order, and what was lost on the way. */
export interface EncodedRows {
  readonly examples: Example[]
  /** Examples that were cut to `maxLength`. */
  readonly truncated: number
  /** Words of tagged sentences that were cut away. */
  readonly lostWords: number
}

/** Examples of one split, alone or as {@link encodeRows} and {@link prepareData} give them. */
export type ExampleSet = readonly Example[] | EncodedRows

/** The examples of a set. */
export function examplesOf(set: ExampleSet): readonly Example[] {
  return 'examples' in set ? set.examples : set
}

/**
 * Rows as examples, by their task. Texts (or pairs) of classification are tokenised whole, tagged sentences word by
 * word with the tag on the first piece of each word; texts of masked LM become blocks that lose nothing.
 * @throws ERR_DATA naming the row for a label outside the map, lists of unequal length, values of a wrong type.
 */
export function encodeRows(
  rows: Iterable<Row>,
  tokenizer: Tokenizer,
  spec: EncodeSpec & Omit<TaskChoice, 'reason'>,
): EncodedRows {
  const task = taskOf(spec)
  const examples: Example[] = []
  let truncated = 0
  let lostWords = 0
  for (const row of rows)
    for (const example of task.encode(row, tokenizer, spec)) {
      if (example.truncated) truncated++
      if (example.words) lostWords += example.words.length - wordsKept(example)
      examples.push(example)
    }
  return { examples, truncated, lostWords }
}

/**
 * What a task changes in examples as they go into a batch: masked LM hides tokens.
 * @throws ERR_OPTION for an option that the task has no use for
 */
export function transformOf(task: Task, tokenizer: Tokenizer, options: TransformOptions): Transform | undefined {
  const { maskProbability } = options
  check(task.transform || maskProbability === undefined, 'ERR_OPTION', () => {
    return `maskProbability: ${maskProbability} has no effect, since ${task.title} hides no tokens; leave it out`
  })
  return task.transform?.(tokenizer, options)
}

function wordsKept({ wordIds }: Example): number {
  return wordIds ? wordIds.reduce((most, word) => Math.max(most, word + 1), 0) : 0
}
