import type { Example } from '../data/example.ts'
import type { List } from '../data/list.ts'
import type { Row } from '../data/row.ts'
import { StoredExamples } from '../data/storedExamples.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { taskOf } from './index.ts'
import type { EncodeSpec } from './task.ts'

/** Encoded rows, in order, and what was lost on the way. */
export interface EncodedRows {
  readonly examples: List<Example>
  /** Examples that were cut to `maxLength`. */
  readonly truncated: number
  /** Words of tagged sentences that were cut away. */
  readonly lostWords: number
}

/** Examples of one split, alone or as {@link encodeRows} and {@link prepareData} give them. */
export type ExampleSet = List<Example> | EncodedRows

/** The examples of a set. */
export function examplesOf(set: ExampleSet): List<Example> {
  return 'examples' in set ? set.examples : set
}

/**
 * Rows as examples, by their task. Texts (or pairs) of classification are tokenised whole, tagged sentences word by
 * word with the tag on the first piece of each word; texts of masked LM become blocks that lose nothing.
 * Examples are kept as numbers, and made when they are read; many lie in a file.
 * @throws ERR_DATA naming the row for a label outside the map, lists of unequal length, values of a wrong type.
 */
export function encodeRows(
  rows: List<Row>,
  tokenizer: Tokenizer,
  spec: EncodeSpec & Parameters<typeof taskOf>[0],
): EncodedRows {
  const task = taskOf(spec)
  const examples = new StoredExamples(rows)
  let [truncated, lostWords, place] = [0, 0, 0]
  for (const row of rows) {
    for (const example of task.encode(row, tokenizer, spec)) {
      if (example.truncated) truncated++
      if (example.words) lostWords += example.words.length - wordsKept(example)
      examples.push(example, place)
    }
    place++
  }
  return { examples, truncated, lostWords }
}

function wordsKept({ wordIds }: Example): number {
  return wordIds ? wordIds.reduce((most, word) => Math.max(most, word + 1), 0) : 0
}
