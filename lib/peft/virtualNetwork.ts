// What makes virtual tokens while they train, and is not saved: the encoder of P-tuning (Liu et al. 2021) and the
// projection of prefix tuning (Li and Liang 2021). Only what they give is written to files.

import { normal, uniform } from '../nn/init.ts'
import type { Parameter } from '../nn/module.ts'
import { type Activation, activation } from '../ops/activation.ts'
import { linear } from '../ops/linear.ts'
import type { Tensor } from '../tensor.ts'
import type { PlaceContext } from './method.ts'

/** Embeddings of virtual tokens, through linear layers with an activation between each two. */
export interface Network {
  readonly params: readonly Parameter[]
  /** [tokens, last size], of the first `count` alone where given; on the tape. */
  rows(count?: number): Tensor
  /** Columns [start, start + width) of all. */
  part(start: number, width: number): Tensor
}

/** `sizes`: of the embeddings, then of what each layer gives; values begin as PyTorch's. */
export function virtualNetwork(
  count: number,
  sizes: readonly number[],
  kind: Activation,
  context: PlaceContext,
): Network {
  const [first = 0, ...outputs] = sizes
  const table = context.parameter('prompt_encoder.embedding.weight', [count, first], (seed, name) => {
    return normal(count * first, 1, seed, name)
  })
  const layers = outputs.map((size, i) => {
    const inputs = sizes[i] ?? 0
    const make = (what: string, shape: readonly number[]) =>
      context.parameter(`prompt_encoder.${i}.${what}`, shape, (seed, name) => {
        const elements = shape.reduce((a, b) => a * b, 1)
        return uniform(elements, 1 / Math.sqrt(inputs), seed, name)
      })
    return { weight: make('weight', [size, inputs]), bias: make('bias', [size]) }
  })
  const hidden = (rows = count) =>
    layers.slice(0, -1).reduce(
      (x, { weight, bias }) => {
        return activation(linear(x, weight.tensor, bias.tensor), kind)
      },
      table.tensor.view(0, [rows, first]),
    )
  const last = layers.at(-1)
  return {
    params: [table, ...layers.flatMap(({ weight, bias }) => [weight, bias])],
    rows: rows => (last ? linear(hidden(rows), last.weight.tensor, last.bias.tensor) : hidden(rows)),
    part(start, width) {
      if (!last) return hidden()
      const { columns } = last.weight
      const weight = last.weight.tensor.view(start * columns, [width, columns])
      return linear(hidden(), weight, last.bias.tensor.view(start, [width]))
    },
  }
}
