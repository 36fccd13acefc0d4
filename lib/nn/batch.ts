import { check } from '../errors.ts'
import { type Device, Tensor } from '../tensor.ts'

/** Sequences packed one after the other, on the host: no padding exists inside. */
export interface PackedBatch {
  /** Token ids, [N]. */
  ids: Int32Array
  /** Position of each token in its sequence, [N]. */
  positions: Int32Array
  /** Segment of each token, [N]; absent: all 0. */
  typeIds?: Int32Array | undefined
  /** Where each sequence begins, and N, [B + 1]. */
  cuSeqlens: Int32Array
  maxLength: number
}

/** A batch on its device. */
export interface Batch {
  ids: Tensor
  positions: Tensor
  typeIds: Tensor
  cuSeqlens: Tensor
  /** First token of each sequence, i32[B]. */
  first: Tensor
  maxLength: number
  tokens: number
  sequences: number
}

/** What a model accepts. */
export interface InputLimits {
  vocabSize: number
  /** 0: the model has no segments. */
  typeVocabSize: number
  /** Rows of the position table. */
  maxPositions: number
  /** RoBERTa's rule: tokens other than this id count up from id + 1, and this id itself sits at position id. */
  positionsAfter?: number | undefined
}

/** The longest sequence a model takes. */
export function maxTokens(limits: InputLimits): number {
  return limits.maxPositions - (limits.positionsAfter === undefined ? 0 : limits.positionsAfter + 1)
}

/** Checks ids and lengths against the model and copies a batch to the device; call it inside a scope. */
export function upload(batch: PackedBatch, device: Device, limits: InputLimits): Batch {
  const { ids, positions, cuSeqlens, maxLength } = batch
  const sequences = cuSeqlens.length - 1
  check(sequences > 0 && ids.length > 0, 'ERR_DATA', () => 'batch: it has no sequence; drop empty batches')
  for (let s = 0; s < sequences; s++)
    check(
      cuSeqlens[s + 1]! > cuSeqlens[s]!,
      'ERR_DATA',
      () => `batch: sequence ${s} is empty; every sequence needs a token`,
    )
  const longest = maxTokens(limits)
  check(
    maxLength <= longest,
    'ERR_DATA',
    () => `batch: a sequence of ${maxLength} tokens, the model takes ${longest}; lower maxLength`,
  )
  checkRange(ids, limits.vocabSize, 'token id', 'the tokenizer does not belong to this model')
  const typeIds = batch.typeIds ?? new Int32Array(ids.length)
  if (limits.typeVocabSize > 0) checkRange(typeIds, limits.typeVocabSize, 'type id', 'the model knows fewer segments')
  const { positionsAfter } = limits
  const placed = positionsAfter === undefined ? positions : positionsSkipping(ids, cuSeqlens, positionsAfter)
  checkRange(placed, limits.maxPositions, 'position', 'lower maxLength')
  const at = (data: Int32Array) => Tensor.from(data, [data.length], { device })
  return {
    ids: at(ids),
    positions: at(placed),
    typeIds: at(typeIds),
    cuSeqlens: at(cuSeqlens),
    first: at(cuSeqlens.slice(0, sequences)),
    maxLength,
    tokens: ids.length,
    sequences,
  }
}

function positionsSkipping(ids: Int32Array, cuSeqlens: Int32Array, padId: number): Int32Array {
  const placed = new Int32Array(ids.length)
  for (let s = 0; s + 1 < cuSeqlens.length; s++) {
    let position = padId
    for (let i = cuSeqlens[s]!; i < cuSeqlens[s + 1]!; i++) placed[i] = ids[i] === padId ? padId : ++position
  }
  return placed
}

function checkRange(values: Int32Array, limit: number, what: string, cure: string): void {
  for (const value of values)
    check(
      value >= 0 && value < limit,
      'ERR_DATA',
      () => `batch: ${what} ${value} is outside 0 to ${limit - 1}; ${cure}`,
    )
}
