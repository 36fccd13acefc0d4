// Virtual tokens: trained rows in place of words at the start of each sequence (a prompt), or keys and values before
// those of each sequence (a prefix).

import { concatRows } from '../autograd/rows.ts'
import { check } from '../errors.ts'
import { cast } from '../ops/copy.ts'
import { embedding } from '../ops/embedding.ts'
import { type Device, Tensor } from '../tensor.ts'
import { mapTuple, must, nth } from '../tuple.ts'
import { type InputRules, type PackedBatch, positionsOf } from './batch.ts'
import { splitColumns } from './columns.ts'
import { isUndecided } from './routes.ts'

/** What an adapter puts before each sequence: rows that train, or that a network which trains makes on the tape. */
export interface VirtualTokens {
  /** How many there are. */
  readonly count: number
  /** Word embeddings of the virtual tokens, [tokens, D]. */
  readonly prompt?: () => Tensor
  /** Their keys and values in a layer, [tokens, 2 · width]: keys, then values. */
  readonly prefix?: (layer: number) => Tensor
}

/** A batch with `count` virtual tokens before each sequence; they have id 0, and segment 0. */
export function withVirtual(batch: PackedBatch, count: number) {
  const { ids, typeIds, cuSeqlens, maxLength } = batch
  const sequences = cuSeqlens.length - 1
  const total = ids.length + count * sequences
  const longer: PackedBatch = {
    ids: new Int32Array(total),
    typeIds: typeIds && new Int32Array(total),
    cuSeqlens: cuSeqlens.map((at, s) => at + count * s),
    maxLength: maxLength + count,
  }
  /** Where each token of the batch went. */
  const moved = new Int32Array(ids.length)
  for (let s = 0; s < sequences; s++) {
    const [from, to] = [nth(cuSeqlens, s), nth(cuSeqlens, s + 1)]
    const begin = nth(longer.cuSeqlens, s)
    for (let t = from; t < to; t++) {
      const place = begin + count + t - from
      moved[t] = place
      longer.ids[place] = nth(ids, t)
      if (typeIds) must(longer.typeIds, 'typeIds')[place] = nth(typeIds, t)
    }
  }
  return { batch: longer, moved }
}

/** Prompt in force: rows of the word embeddings `owner` are replaced at the virtual tokens of `cuSeqlens`. */
let current: { owner: object; prompt: () => Tensor; cuSeqlens: Int32Array } | undefined

/** Runs `body`, in which the embedding `owner` gives the prompt's rows for virtual tokens. */
export function withPrompt<T>(owner: object, prompt: () => Tensor, { cuSeqlens }: PackedBatch, body: () => T): T {
  check(!isUndecided(), 'ERR_UNSUPPORTED', () => 'withRoutes: an adapter with a prompt cannot go by rows; run it alone')
  const outer = current
  current = { owner, prompt, cuSeqlens }
  try {
    return body()
  } finally {
    current = outer
  }
}

/** Rows [N, D] of an embedding, with those of virtual tokens in their places. */
export function promptedRows(owner: object, rows: Tensor): Tensor {
  if (current?.owner !== owner) return rows
  const { cuSeqlens } = current
  const prompt = current.prompt()
  const [n, count] = [rows.rows, prompt.rows]
  const index = Int32Array.from({ length: n }, (_, i) => i)
  for (const begin of cuSeqlens.subarray(0, -1)) for (let p = 0; p < count; p++) index[begin + p] = n + p
  const table = concatRows([rows, cast(prompt, rows.dtype)])
  return embedding(table, Tensor.from(index, [n], { device: rows.device }), rows.dtype)
}

/** Tokens after a prefix stand that many places later, as in transformers. */
export function shiftedRules(rules: InputRules, count: number): InputRules {
  const placed = (batch: PackedBatch) => rules.place?.(batch) ?? positionsOf(batch)
  return { limits: rules.limits, place: batch => placed(batch).map(position => position + count) }
}

/** A prefix as one forward pass needs it. */
export interface BatchPrefix {
  /** Of a layer, as {@link VirtualTokens} has them. */
  readonly rows: (layer: number) => Tensor
  /** For each key of each sequence its row of [prefix; keys of the batch], i32. */
  readonly index: Tensor
  /** Where the keys of each sequence begin, i32[B + 1]. */
  readonly cuSeqlens: Tensor
  readonly maxLength: number
  /** For each key a row of the batch: its own, and for those of the prefix any of their sequence, i32. */
  readonly queries: Tensor
  /** Which keys the batch brings, i32[N]. */
  readonly rest: Tensor
}

export function prefixOf(
  count: number,
  rows: (layer: number) => Tensor,
  { cuSeqlens, maxLength }: PackedBatch,
  device: Device,
): BatchPrefix {
  check(!isUndecided(), 'ERR_UNSUPPORTED', () => 'withRoutes: an adapter with a prefix cannot go by rows; run it alone')
  const sequences = cuSeqlens.length - 1
  const begins = cuSeqlens.map((at, s) => at + count * s)
  const [index, queries] = mapTuple(['index', 'queries'], () => new Int32Array(nth(begins, sequences)))
  const rest = new Int32Array(nth(cuSeqlens, sequences))
  for (let s = 0; s < sequences; s++)
    for (let i = nth(begins, s); i < nth(begins, s + 1); i++) {
      const offset = i - nth(begins, s) - count
      const row = nth(cuSeqlens, s) + Math.max(0, offset)
      index[i] = offset < 0 ? offset + count : count + row
      queries[i] = row
      if (offset >= 0) rest[row] = i
    }
  const on = (data: Int32Array) => Tensor.from(data, [data.length], { device })
  const places = { index: on(index), queries: on(queries), rest: on(rest) }
  return { rows, ...places, cuSeqlens: on(begins), maxLength: maxLength + count }
}

/** Keys and values [N, width] of layer `layer` with the prefix before those of each sequence. */
export function prefixed({ rows, index }: BatchPrefix, layer: number, k: Tensor, v: Tensor): [Tensor, Tensor] {
  const [keys, values] = splitColumns(rows(layer), [k.columns, v.columns])
  const join = (own: Tensor, after: Tensor) =>
    embedding(concatRows([cast(own, after.dtype), after]), index, after.dtype)
  return [join(keys, k), join(values, v)]
}
