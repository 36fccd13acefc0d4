import { checkpoint } from '../autograd/checkpoint.ts'
import { rowViews } from '../autograd/rows.ts'
import { asRouted, withSelectedRoutes } from '../nn/routes.ts'
import { add } from '../ops/add.ts'
import { asNow, countingFrom } from '../ops/random.ts'
import type { Tensor } from '../tensor.ts'
import { type Each, mapTuple, must, nth } from '../tuple.ts'

/** Logits that exist at a time, in bytes: those of the fused loss of a frozen layer. */
const PIECE_BYTES = { cpu: 128 * 2 ** 20, cuda: 512 * 2 ** 20 }

/**
 * A loss over rows [N, D] and what it reads beside each, tensors of N rows, as the sum of those of pieces, so that
 * [N, columns] never exists: what `body` makes of a piece is made again in backward. Few rows are one piece, which is
 * kept.
 */
export function lossInPieces<const R extends readonly Tensor[]>(
  rows: Tensor,
  beside: R,
  columns: number,
  body: (rows: Tensor, beside: Each<R, Tensor>) => Tensor,
  pieceBytes = rows.device.isCuda ? PIECE_BYTES.cuda : PIECE_BYTES.cpu,
): Tensor {
  const most = Math.max(1, Math.floor(pieceBytes / (4 * columns)))
  const count = rows.rows
  if (count <= most)
    return body(
      rows,
      mapTuple(beside, each => each),
    )
  const heights = Array.from({ length: Math.ceil(count / most) }, (_, i) => Math.min(most, count - i * most))
  const [routed, inNow] = [asRouted(), asNow()]
  const losses = rowViews(rows, heights).map((part, i) => {
    const begin = i * most
    const selected = Int32Array.from({ length: nth(heights, i) }, (_, j) => begin + j)
    // Views that nothing else holds: the tape frees what it reads.
    const own = mapTuple(beside, x => x.view((begin * x.size) / count, [part.rows, ...x.shape.slice(1)]))
    const counted = (x: Tensor) => countingFrom(begin, () => withSelectedRoutes(selected, () => body(x, own)))
    const [loss] = checkpoint([part], ([x]) => [routed(() => inNow(() => counted(must(x, 'rows'))))], [...own])
    return loss
  })
  return losses.reduce((sum, loss) => add(sum, loss))
}
