import type { Splits } from '../data/duplicates.ts'
import type { Example } from '../data/example.ts'
import type { List } from '../data/list.ts'
import type { Row } from '../data/row.ts'
import { StoredExamples } from '../data/storedExamples.ts'
import { atOnce, inTurns, type Pieces } from '../io/turn.ts'
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
  /** Tokens, and those of them that stand for what the vocabulary lacks. */
  readonly tokens: number
  readonly unknown: number
}

/** Share of unknown tokens from which on it is told. */
const MOST_UNKNOWN = 0.05
/** Of a single text, in which one odd sign weighs more. */
const MOST_UNKNOWN_OF_TEXT = 0.2

const LACKS =
  'the vocabulary of the model lacks what stands there, which it cannot tell apart; take a model of this language'

/** What to tell of texts that the vocabulary does not cover, another language say; undefined where it does. */
export function unknownText(sets: readonly EncodedRows[], tokenizer: Tokenizer): string | undefined {
  const [unknown, tokens] = [
    sets.reduce((sum, set) => sum + set.unknown, 0),
    sets.reduce((sum, set) => sum + set.tokens, 0),
  ]
  if (unknown <= MOST_UNKNOWN * tokens) return undefined
  return `${unknown} of ${tokens} tokens are ${unknownName(tokenizer)}: ${LACKS}`
}

/** The same of `count` texts that {@link unknownOfText} is told of. */
export function unknownTextsText(count: number, tokenizer: Tokenizer): string {
  const texts = count === 1 ? '1 text is' : `${count} texts are`
  return `more than a fifth of ${texts} ${unknownName(tokenizer)}: ${LACKS}`
}

/** Unknown tokens of a text, by its examples, where they are more than a fifth of it: it is answered nearly unread. */
export function unknownOfText(examples: readonly Pick<Example, 'ids'>[], tokenizer: Tokenizer): number | undefined {
  const id = unknownId(tokenizer)
  const unknown = examples.reduce((sum, { ids }) => sum + countOf(id, ids), 0)
  const tokens = examples.reduce((sum, { ids }) => sum + ids.length, 0)
  return unknown > MOST_UNKNOWN_OF_TEXT * tokens ? unknown : undefined
}

/** The token that stands for what the vocabulary lacks; none, where it is another's too, as GPT-2's end of text. */
function unknownId({ specials: { unk, ...others } }: Tokenizer): number | undefined {
  return unk === undefined || Object.values(others).includes(unk) ? undefined : unk
}

function countOf(wanted: number | undefined, ids: Int32Array): number {
  return wanted === undefined ? 0 : ids.reduce((count, id) => (id === wanted ? count + 1 : count), 0)
}

function unknownName(tokenizer: Tokenizer): string {
  const { unk } = tokenizer.specials
  return (unk === undefined ? undefined : tokenizer.token(unk)) ?? 'unknown'
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
  return atOnce(encoding(rows, tokenizer, spec))
}

/** {@link encodeRows} in pieces. */
export function* encoding(
  rows: List<Row>,
  tokenizer: Tokenizer,
  spec: EncodeSpec & Parameters<typeof taskOf>[0],
): Pieces<EncodedRows> {
  const task = taskOf(spec)
  const examples = new StoredExamples(rows)
  const unk = unknownId(tokenizer)
  let [truncated, lostWords, place, tokens, unknown] = [0, 0, 0, 0, 0]
  for (const row of rows) {
    for (const example of task.encode(row, tokenizer, spec)) {
      if (example.truncated) truncated++
      if (example.words) lostWords += example.words.length - wordsKept(example)
      tokens += example.ids.length
      unknown += countOf(unk, example.ids)
      examples.push(example, place)
    }
    place++
    yield
  }
  return { examples, truncated, lostWords, tokens, unknown }
}

/** Every split as examples, how many of all were cut, and what to tell where the vocabulary does not cover them. */
export async function encodeSplits(
  { train, validation, test }: Splits,
  tokenizer: Tokenizer,
  spec: Parameters<typeof encoding>[2],
) {
  const encode = (rows: List<Row>) => inTurns(encoding(rows, tokenizer, spec))
  const encoded = { train: await encode(train), validation: await encode(validation), test: await encode(test) }
  const sets = Object.values(encoded)
  const truncated = sets.reduce((sum, set) => sum + set.truncated, 0)
  return { ...encoded, truncated, unknown: unknownText(sets, tokenizer) }
}

function wordsKept({ wordIds }: Example): number {
  return wordIds ? wordIds.reduce((most, word) => Math.max(most, word + 1), 0) : 0
}
