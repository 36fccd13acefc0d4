import { logSumExp } from '../ops/crossEntropy.ts'
import { sample } from '../ops/sample.ts'
import { scale } from '../ops/scale.ts'
import { scope, type Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'

/** The largest logit of some rows, on their device. */
export interface LikeliestRows {
  /** Its column, i32[n]. */
  readonly ids: Tensor
  /** 2^20 times the logit itself, [n]. */
  readonly sharpLogits: Tensor
  /** Log of the sum of exponentials of the row, [n]. */
  readonly logSumExp: Tensor
}

/** The largest logit of each row, on the host. */
export interface Likeliest {
  readonly ids: Int32Array
  /** Softmax of the row at it. */
  readonly probabilities: Float32Array
}

/** Logits that exist at a time, in bytes. */
const PIECE_BYTES = 64 * 2 ** 20
/** log Σ exp(SHARP · x) is SHARP · max x, but for the log of how many share the maximum; a power of two is exact. */
const SHARP = 2 ** 20

/** The largest logit of each row [N, D], in pieces, so that [N, columns] never exists; inside a scope, unrecorded. */
export function likeliestRows(
  rows: Tensor,
  columns: number,
  logitsOf: (rows: Tensor) => Tensor,
  pieceBytes = PIECE_BYTES,
): LikeliestRows[] {
  const { rows: count, columns: width } = rows
  const most = Math.max(1, Math.floor(pieceBytes / (4 * columns)))
  const pieces: LikeliestRows[] = []
  for (let start = 0; start < count; start += most) {
    const n = Math.min(most, count - start)
    const found = scope<Record<keyof LikeliestRows, Tensor>>(() => {
      const logits = logitsOf(rows.view(start * width, [n, width]))
      const ids = sample(logits, { temperature: 0, seed: 0, step: 0 })
      return { ids, sharpLogits: logSumExp(scale(logits, SHARP), ids), logSumExp: logSumExp(logits, ids) }
    })
    pieces.push(found)
  }
  return pieces
}

/** Reads the pieces; the reads are in the queue when it returns. */
export async function readLikeliest(pieces: readonly LikeliestRows[]): Promise<Likeliest> {
  const read = await Promise.all(
    pieces.map(each => Promise.all([each.ids.data(), each.sharpLogits.data(), each.logSumExp.data()])),
  )
  const ids = read.flatMap(([found]) => [...found])
  const logs = read.flatMap(([, sharp, sums]) => Array.from(sharp, (x, i) => x / SHARP - nth(sums, i)))
  return { ids: Int32Array.from(ids), probabilities: Float32Array.from(logs, log => Math.min(1, Math.exp(log))) }
}
