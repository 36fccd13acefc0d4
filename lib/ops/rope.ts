import { type Backward, record, take } from '../autograd/tape.ts'
import { type Handle, native } from '../native.ts'
import { Tensor } from '../tensor.ts'

/** Rotary position embeddings (Su et al. 2021) of the columns of a product. */
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
  return [recordRotated(q, handles[0], input), recordRotated(k, handles[1], input)]
}

/** The same of one tensor. */
export function ropeOne(x: Tensor, input: RopeInput): Tensor {
  const { positions, table, headDim, interleaved = false } = input
  return recordRotated(x, native.rope(x.handle, 0, positions.handle, table.handle, headDim, interleaved)[0], input)
}

function recordRotated(x: Tensor, handle: Handle, input: RopeInput): Tensor {
  const backward: Backward = dy => [rotateBack(dy, input)]
  return record(new Tensor(handle), [x], [input.positions, input.table], backward)
}

/** In a backward rule: the gradient of rows before `rope` turned them. Without one it is dy. */
export function rotateBack(dy: Tensor, rope: RopeInput | undefined): Tensor {
  if (!rope) return dy
  const mine = take(dy)
  native.ropeBackward(mine.handle, rope.positions.handle, rope.table.handle, rope.headDim, rope.interleaved ?? false)
  return mine
}

/** What the native calls of layers take of it. */
export function ropeArguments(
  rope: RopeInput | undefined,
): [positions: Handle | 0, table: Handle | 0, headDim: number, interleaved: boolean] {
  if (!rope) return [0, 0, 0, false]
  return [rope.positions.handle, rope.table.handle, rope.headDim, rope.interleaved ?? false]
}

/** The same of layers that take it as a list, which is empty without one. */
export function ropeList(rope: RopeInput | undefined) {
  const [, , headDim, interleaved] = ropeArguments(rope)
  return [ropeTensors(rope).map(each => each.handle), headDim, interleaved] as const
}

export const ropeTensors = (rope: RopeInput | undefined): Tensor[] => (rope ? [rope.positions, rope.table] : [])
