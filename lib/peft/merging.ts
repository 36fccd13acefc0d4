// What adapters change in the weights of a layer.

import { check } from '../errors.ts'
import type { DType } from '../native.ts'
import type { LinearAdapter } from '../nn/linear.ts'
import { isQuantized, type Storage } from '../nn/module.ts'
import { add } from '../ops/add.ts'
import { matmul, transpose } from '../ops/matmul.ts'
import { scale } from '../ops/scale.ts'
import { copyOf, scope, type Tensor } from '../tensor.ts'
import { must } from '../tuple.ts'
import { isTable, type Layer } from './layers.ts'

/** What is trained is f32, or f64 on an f64 base. */
export function trainedDType(storage: Storage): DType {
  return storage === 'f64' ? 'f64' : 'f32'
}

/** A weight [out, in] with its bias. */
interface Merged {
  readonly weight: Tensor
  readonly bias?: Tensor | undefined
}

/**
 * What an adapter adds to a layer's weight, given as it trains (f32, or f64), and to its bias.
 * @throws ERR_UNSUPPORTED for an adapter that changes no weight, as bottlenecks
 */
export function changeOf(adapter: LinearAdapter, weight: Tensor, bias: Tensor | undefined, layer: Layer): Merged {
  if (adapter.delta && !isTable(layer)) return adapter.delta(weight, bias, layer)
  const { factors, input, gain, output } = adapter
  const isAlone = factors && !input && !gain && !output
  check(isAlone, 'ERR_UNSUPPORTED', () => `merge: "${adapter.name}" of ${layer.path} has no change of its weight`)
  const { a, b, scale: s } = factors.call(adapter)
  const change = scale(matmul(b, a), s)
  return { weight: isTable(layer) ? transpose(change) : change }
}

/**
 * Weight and bias with the changes of adapters, rounded once to the dtypes they are stored in; beside a quantised
 * weight the result stays in the dtype that trains. What no adapter changes is absent.
 */
export function mergedLayer(layer: Layer, on: readonly LinearAdapter[], keepWide = false): Partial<Merged> {
  const adapters = on.filter(({ follows }) => !follows)
  if (adapters.length === 0) return {}
  return scope<{ weight?: Tensor; bias?: Tensor }>(() => {
    const stored = { weight: layer.weight.tensor, bias: layer.bias?.tensor }
    const wide = trainedDType(stored.weight.dtype === 'f64' ? 'f64' : 'f32')
    let weight = copyOf(stored.weight, wide)
    let bias = stored.bias && copyOf(stored.bias, wide)
    let isBiasChanged = false
    // Gains and outputs act on what factors have added.
    const rank = (adapter: LinearAdapter) => Number(!adapter.factors || !!adapter.output)
    for (const adapter of adapters.toSorted((a, b) => rank(a) - rank(b))) {
      const change = changeOf(adapter, weight, bias, layer)
      weight = add(weight, change.weight)
      if (!bias || !change.bias) continue
      bias = add(bias, change.bias)
      isBiasChanged = true
    }
    const round = (tensor: Tensor, { dtype }: Tensor) =>
      keepWide || dtype === tensor.dtype || isQuantized(dtype) ? tensor : copyOf(tensor, dtype)
    return {
      weight: round(weight, stored.weight),
      ...(isBiasChanged ? { bias: round(must(bias, 'bias'), must(stored.bias, 'bias')) } : {}),
    }
  })
}
