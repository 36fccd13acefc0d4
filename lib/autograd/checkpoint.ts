// Activation checkpointing (Chen et al. 2016): a part of the forward pass keeps its inputs alone, and runs again when
// its gradients are wanted. Masks are counters, so what runs again is the same to the bit.

import { check } from '../errors.ts'
import { type Tensor, tensorsIn } from '../tensor.ts'
import { runningTape, Tape, take } from './tape.ts'

type State = readonly (Tensor | undefined)[]

/**
 * `body(state)`, with nothing kept between. What has a gradient is in the state, or a leaf whose gradient is added up
 * where it lies (`grad`); `reads` are other tensors that the body reads. Outside of a tape it just runs.
 */
export function checkpoint<S extends State, R extends State>(
  state: S,
  body: (state: S) => R,
  reads: readonly Tensor[] = [],
): R {
  const outer = runningTape()
  const trial = new Tape() // tells whether anything inside trains
  const result = trial.run(() => body(state))
  trial.dispose()
  const [inputs, outputs] = [tensorsIn(state), tensorsIn(result)]
  if (!outer || !outputs.some(output => output.requiresGrad)) return result
  outer.push(outputs, inputs, [...inputs, ...reads], dys => {
    const leaves = inputs.map(input => {
      const leaf = input.view(0, input.shape)
      leaf.requiresGrad = input.requiresGrad
      return leaf
    })
    const tape = new Tape()
    const inPlace: State = state.map(tensor => tensor && leaves[inputs.indexOf(tensor)])
    const again = tensorsIn(tape.run(() => body(inPlace as S)))
    // The outer tape frees dy: what it alone holds is lent, all else copied.
    const seeds = dys.map(dy => dy && take(dy).view(0, dy.shape))
    const grads = tape.backwardFrom(again, seeds)
    const strayed = [...grads.keys()].some(tensor => !leaves.includes(tensor))
    check(!strayed, 'ERR_UNSUPPORTED', () => 'checkpoint: what trains inside has no grad; put it into an Arena')
    return leaves.map(leaf => grads.get(leaf))
  })
  return result
}
