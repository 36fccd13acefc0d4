// Masked language modelling: hiding tokens (Devlin et al. 2019, section 3.1) and cutting long texts into blocks.

import { check } from '../errors.ts'
import { checkOptions } from '../options.ts'
import type { Random } from '../random.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { lastOf, nth } from '../tuple.ts'
import { type Example, IGNORED } from './example.ts'
import { type Row, textOf } from './row.ts'
import type { Transform } from './transform.ts'

/** How tokens are hidden. */
export interface Masking {
  readonly maskId: number
  readonly vocabSize: number
  /** Tokens that are never hidden and never put in. */
  readonly specialIds: ReadonlySet<number>
  /** Share of tokens to predict, 0.15 by default. */
  readonly probability?: number | undefined
  /** Hide all pieces of a word together: whether a token continues the one before. */
  readonly continues?: ((id: number) => boolean) | undefined
}

/**
 * Hides tokens of each example; those hidden become its labels.
 * @throws ERR_OPTION for a share outside (0, 1]
 */
export function maskTokens(masking: Masking): Transform {
  const { probability = 0.15, continues } = masking
  check(probability > 0 && probability <= 1, 'ERR_OPTION', () => `masking: ${probability} is not a share in (0, 1]`)
  return {
    name: 'mask',
    key: `${probability} ${continues ? 'words' : 'tokens'}`,
    labels: true,
    apply: (example, rng) => maskExample(example, masking, rng),
  }
}

/**
 * {@link maskTokens} by a tokenizer: every token (or word) but special ones.
 * @throws ERR_CONFIG when it has no mask token, ERR_OPTION for a share outside (0, 1]
 */
export function maskingOf(
  tokenizer: Tokenizer,
  options: { readonly probability?: number | undefined; readonly wholeWord?: boolean | undefined } = {},
): Transform {
  checkOptions('maskingOf', options, { probability: true, wholeWord: true })
  const { probability = 0.15, wholeWord = false } = options
  const { mask } = tokenizer.specials
  check(mask !== undefined, 'ERR_CONFIG', () => `masking: the tokenizer in ${tokenizer.path} has no mask token`)
  const { vocabSize, specialIds } = tokenizer
  const continues = wholeWord ? tokenizer.continues : undefined
  return maskTokens({ maskId: mask, vocabSize, specialIds, probability, continues })
}

/**
 * An example with tokens hidden: each token (or word) is chosen with the given probability, and at least one of them;
 * of the chosen tokens 80 % become the mask, 10 % a random token, 10 % stay. Labels are the old ids of chosen tokens.
 */
function maskExample(example: Example, masking: Masking, rng: Random): Example {
  const { probability = 0.15, maskId, specialIds } = masking
  const groups = wordGroups(example.ids, masking)
  const chosen = groups.filter(() => rng.float() < probability)
  if (chosen.length === 0 && groups.length > 0) chosen.push(nth(groups, rng.below(groups.length)))
  const ids = example.ids.slice()
  const label = new Int32Array(ids.length).fill(IGNORED)
  for (const t of chosen.flat()) {
    label[t] = nth(ids, t)
    const draw = rng.float()
    if (draw < 0.8) ids[t] = maskId
    else if (draw < 0.9) ids[t] = randomToken(masking, specialIds, rng)
  }
  return { ...example, ids, label }
}

/** How texts are cut into blocks. */
export interface BlockOptions {
  /** Tokens of a block, special tokens included. */
  readonly length: number
  /** Fill blocks across documents, a separator between two; else each document starts a block. Default true. */
  readonly across?: boolean | undefined
}

/**
 * Texts cut into blocks of a fixed length, none of their tokens lost; each block stands between the tokenizer's cls
 * and sep. The last block (of a document, or of all) may be shorter.
 * @throws ERR_OPTION for a length without room, ERR_CONFIG for a tokenizer without cls and sep
 */
export function* textBlocks(
  rows: Iterable<Row>,
  column: string,
  tokenizer: Tokenizer,
  options: BlockOptions,
): Generator<Example> {
  checkOptions('textBlocks', options, { length: true, across: true })
  const { length, across = true } = options
  const { cls, sep } = tokenizer.specials
  check(cls !== undefined && sep !== undefined, 'ERR_CONFIG', () => 'blocks: the tokenizer has no cls and sep token')
  const room = length - 2
  check(Number.isInteger(length) && room > 0, 'ERR_OPTION', () => `length: ${length} is not an integer above 2`)
  const block = (tokens: readonly number[], row: Row): Example => {
    return { ids: Int32Array.of(cls, ...tokens, sep), truncated: false, row }
  }
  let pending: number[] = []
  let first: Row | undefined
  for (const row of rows) {
    const tokens = tokenizer.tokens(textOf(row, column))
    if (tokens.length === 0) continue
    if (!across) {
      for (let i = 0; i < tokens.length; i += room) yield block(tokens.slice(i, i + room), row)
      continue
    }
    first ??= row
    const joined: number[] = pending.length > 0 ? [...pending, sep] : []
    for (const token of tokens) joined.push(token)
    let start = 0
    for (; joined.length - start >= room; start += room) {
      yield block(joined.slice(start, start + room), first)
      first = row
    }
    pending = joined.slice(start)
    if (pending.length === 0) first = undefined
  }
  if (first) yield block(pending, first)
}

/** Positions that may be hidden: one list a token, or one a word. */
function wordGroups(ids: Int32Array, { specialIds, continues }: Masking): number[][] {
  const groups: number[][] = []
  let open = false
  ids.forEach((id, t) => {
    if (specialIds.has(id)) {
      open = false
      return
    }
    if (open && continues?.(id)) lastOf(groups).push(t)
    else groups.push([t])
    open = true
  })
  return groups
}

function randomToken({ vocabSize }: Masking, specialIds: ReadonlySet<number>, rng: Random): number {
  for (;;) {
    const id = rng.below(vocabSize)
    if (!specialIds.has(id)) return id
  }
}
