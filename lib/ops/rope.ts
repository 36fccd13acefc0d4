import { type Backward, record, take } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'

export interface RopeInput {
  /** Row of the table for each token, i32[N]; checked on the host. */
  positions: Tensor
  /** Cosines, then sines, of each position's angles: [positions, rotary], see `ropeTable`. Columns past it stay. */
  table: Tensor
  headDim: number
  /** Pairs are neighbours (GPT-J), not half a rotary width apart (Llama as Hugging Face stores it). Default false. */
  interleaved?: boolean
}

/** Rotary position embedding (Su et al. 2021) of q [N, heads · headDim] and k [N, kvHeads · headDim] in one launch. */
export function rope(q: Tensor, k: Tensor, input: RopeInput): [q: Tensor, k: Tensor] {
  const { positions, table, headDim, interleaved = false } = input
  const handles = native.rope(q.handle, k.handle, positions.handle, table.handle, headDim, interleaved)
  const backward: Backward = dy => {
    const mine = take(dy)
    native.ropeBackward(mine.handle, positions.handle, table.handle, headDim, interleaved)
    return [mine]
  }
  const rotated = (x: Tensor, i: 0 | 1) => record(new Tensor(handles[i]), [x], [positions, table], backward)
  return [rotated(q, 0), rotated(k, 1)]
}
