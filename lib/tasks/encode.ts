import type { Example } from '../data/example.ts'
import type { Row } from '../data/row.ts'
import { compacting } from '../data/slab.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { taskOf } from './index.ts'
import type { EncodeSpec } from './task.ts'

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
  spec: EncodeSpec & Parameters<typeof taskOf>[0],
): EncodedRows {
  const task = taskOf(spec)
  const examples: Example[] = []
  let truncated = 0
  let lostWords = 0
  const compact = compacting()
  for (const row of rows)
    for (const example of task.encode(row, tokenizer, spec)) {
      if (example.truncated) truncated++
      if (example.words) lostWords += example.words.length - wordsKept(example)
      examples.push(compact(example))
    }
  return { examples, truncated, lostWords }
}

function wordsKept({ wordIds }: Example): number {
  return wordIds ? wordIds.reduce((most, word) => Math.max(most, word + 1), 0) : 0
}
