import { check, fail } from '../errors.ts'
import { type Device, Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'

/** Sequences packed one after the other, on the host: no padding exists inside. */
export interface PackedBatch {
  /** Token ids, [N]. */
  ids: Int32Array
  /** Position of each token, [N]; absent: its place in its sequence. */
  positions?: Int32Array | undefined
  /** Segment of each token, [N]; absent: all 0. */
  typeIds?: Int32Array | undefined
  /** Where each sequence begins, and N, [B + 1]. */
  cuSeqlens: Int32Array
  maxLength: number
  /** For an encoder-decoder: what it is to say to each sequence, their last tokens included. */
  decoder?: PackedBatch | undefined
}

/** Packs sequences in their order. */
export function pack(sequences: readonly Int32Array[]): PackedBatch {
  const cuSeqlens = new Int32Array(sequences.length + 1)
  sequences.forEach((ids, i) => {
    cuSeqlens[i + 1] = nth(cuSeqlens, i) + ids.length
  })
  const size = nth(cuSeqlens, sequences.length)
  const ids = new Int32Array(size)
  sequences.forEach((part, i) => {
    ids.set(part, nth(cuSeqlens, i))
  })
  const maxLength = sequences.reduce((most, { length }) => Math.max(most, length), 0)
  return { ids, cuSeqlens, maxLength }
}

/** The position of each token, [N]. */
export function positionsOf({ ids, positions, cuSeqlens }: PackedBatch): Int32Array {
  if (positions) return positions
  const places = new Int32Array(ids.length)
  for (let s = 0; s + 1 < cuSeqlens.length; s++) {
    const begin = nth(cuSeqlens, s)
    for (let i = begin; i < nth(cuSeqlens, s + 1); i++) places[i] = i - begin
  }
  return places
}

/** Some sequences of a batch, as one; without what their decoders are to say. */
export function sequencesIn({ ids, typeIds, cuSeqlens }: PackedBatch, which: readonly number[]): PackedBatch {
  const of = (all: Int32Array) => which.map(s => all.subarray(cuSeqlens[s], cuSeqlens[s + 1]))
  const found = pack(of(ids))
  return typeIds ? { ...found, typeIds: Int32Array.from(of(typeIds).flatMap(part => [...part])) } : found
}

/** Batches one after the other, as one; without positions of their own and what their decoders are to say. */
export function joinedBatches(batches: readonly PackedBatch[]): PackedBatch {
  const size = batches.reduce((sum, { ids }) => sum + ids.length, 0)
  const [ids, typeIds] = [new Int32Array(size), new Int32Array(size)]
  const ends = [0]
  let begin = 0
  for (const batch of batches) {
    ids.set(batch.ids, begin)
    if (batch.typeIds) typeIds.set(batch.typeIds, begin)
    for (const end of batch.cuSeqlens.subarray(1)) ends.push(begin + end)
    begin += batch.ids.length
  }
  const maxLength = Math.max(...batches.map(batch => batch.maxLength))
  return { ids, typeIds, cuSeqlens: Int32Array.from(ends), maxLength }
}

/** What a decoder reads while it is to say these sequences: `startId` before the first token of each, and no last. */
export function shiftedRight(batch: PackedBatch, startId: number): PackedBatch {
  const ids = new Int32Array(batch.ids.length)
  ids.set(batch.ids.subarray(0, -1), 1)
  for (const begin of batch.cuSeqlens.subarray(0, -1)) ids[begin] = startId
  return { ...batch, ids }
}

/** A batch on its device. */
export interface Batch {
  ids: Tensor
  positions: Tensor
  /** Absent where the model has no segments. */
  typeIds?: Tensor | undefined
  cuSeqlens: Tensor
  maxLength: number
  tokens: number
  sequences: number
  /** One more than its highest position. */
  reach: number
}

/** What a model accepts. */
export interface InputLimits {
  vocabSize: number
  /** 0: the model has no segments. */
  typeVocabSize: number
  /** Rows of the position table. */
  maxPositions: number
  /** The longest sequence, where the table has more rows. Default: maxPositions. */
  maxLength?: number | undefined
}

/** The longest sequence a model takes. */
export function maxTokens({ maxPositions, maxLength = maxPositions }: InputLimits): number {
  return maxLength
}

/** What a model says about its input. */
export interface InputRules {
  readonly limits: InputLimits
  /** Rows of the position table for the tokens, where these are not their places in the sequence. */
  place?(batch: PackedBatch): Int32Array
}

/** Checks ids and lengths against the model and copies a batch to the device; call it inside a scope. */
export function upload(batch: PackedBatch, device: Device, rules: InputRules): Batch {
  const { limits } = rules
  const { ids, positions, cuSeqlens, maxLength } = batch
  const sequences = cuSeqlens.length - 1
  const typeIds = limits.typeVocabSize > 0 ? (batch.typeIds ?? new Int32Array(ids.length)) : undefined
  checkSequences(batch, maxTokens(limits))
  if (positions) checkCount(positions, ids, 'positions')
  if (batch.typeIds) checkCount(batch.typeIds, ids, 'type ids')
  checkRange(ids, limits.vocabSize, 'token id', 'the tokenizer does not belong to this model')
  if (typeIds) checkRange(typeIds, limits.typeVocabSize, 'type id', 'the model knows fewer segments')
  const placed = rules.place?.(batch) ?? positionsOf(batch)
  checkRange(placed, limits.maxPositions, 'position', 'lower maxLength')
  const at = (data: Int32Array) => Tensor.from(data, [data.length], { device })
  return {
    ids: at(ids),
    positions: at(placed),
    typeIds: typeIds && at(typeIds),
    cuSeqlens: at(cuSeqlens),
    maxLength,
    tokens: ids.length,
    sequences,
    reach: placed.reduce((most, position) => Math.max(most, position + 1), 0),
  }
}

function checkSequences({ ids, cuSeqlens, maxLength }: PackedBatch, most: number): void {
  const count = cuSeqlens.length - 1
  check(count > 0 && ids.length > 0, 'ERR_DATA', () => 'batch: it has no sequence; drop empty batches')
  check(
    cuSeqlens[0] === 0 && cuSeqlens[count] === ids.length,
    'ERR_DATA',
    () => `batch: cuSeqlens goes from ${cuSeqlens[0]} to ${cuSeqlens[count]}, expected 0 to ${ids.length} tokens`,
  )
  let longest = 0
  for (let s = 0; s < count; s++) {
    const length = nth(cuSeqlens, s + 1) - nth(cuSeqlens, s)
    check(length > 0, 'ERR_DATA', () => `batch: sequence ${s} has ${length} tokens; every sequence needs one`)
    longest = Math.max(longest, length)
  }
  check(
    longest <= most,
    'ERR_DATA',
    () => `batch: a sequence of ${longest} tokens, the model takes ${most}; lower maxLength`,
  )
  check(
    longest <= maxLength && maxLength <= most,
    'ERR_DATA',
    () => `batch: maxLength ${maxLength}, expected ${longest} (its longest sequence) to ${most} (the model's limit)`,
  )
}

function checkCount(values: Int32Array, ids: Int32Array, what: string): void {
  check(values.length === ids.length, 'ERR_DATA', () => `batch: ${values.length} ${what} for ${ids.length} tokens`)
}

function checkRange(values: Int32Array, limit: number, what: string, cure: string): void {
  for (const value of values)
    if (value < 0 || value >= limit) fail('ERR_DATA', `batch: ${what} ${value} is outside 0 to ${limit - 1}; ${cure}`)
}
