import { claim, recordGroup } from '../autograd/tape.ts'
import { native } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { type Each, mapTuple, nth } from '../tuple.ts'
import type { LowRankFactors } from './loraLinear.ts'
import { COMPUTE, type Compute } from './matmul.ts'
import { dropoutStruct } from './random.ts'
import { type RopeInput, ropeArguments, ropeTensors, turnBack } from './rope.ts'

/** A frozen linear layer, w[out, in] and bias[out], with its factors. */
interface LoraLayer {
  weight: Tensor
  bias: Tensor | undefined
  factors: LowRankFactors
  /** Whether the group's rope turns its rows. Default false. */
  turned?: boolean
}

/**
 * {@link loraLinear} of two or three layers on one x[N, in], such as query, key and value: forward reads x once for all
 * adapters, backward once for the gradients of their a, and makes dx in one product. `rope` turns the rows of some, as
 * they are written.
 */
export function loraLinearGroup<const L extends readonly LoraLayer[]>(
  x: Tensor,
  layers: L,
  compute: Compute = 'f32',
  rope?: RopeInput,
): Each<L, Tensor> {
  const n = layers.length
  const c = COMPUTE.indexOf(compute)
  const exact = layers.every(({ factors }) => factors.exact !== false)
  const weights = layers.map(layer => layer.weight)
  const biases = layers.map(layer => layer.bias)
  const [a, b] = [layers.map(layer => layer.factors.a), layers.map(layer => layer.factors.b)]
  const scales = layers.map(layer => layer.factors.scale)
  const masks = layers.map(({ factors }) => dropoutStruct(factors.dropout, factors.site))
  const pairs = [handles(a), handles(b)] as const
  const settings = [scales, masks, c, exact] as const
  const frozen = [x.handle, handles(weights), biases.map(bias => bias?.handle ?? 0)] as const
  const made = native.loraLinearGroup(...frozen, ...pairs, ...settings, ...turnArguments(layers, rope))
  const tensors = made.map(handle => new Tensor(handle))
  const [ys, s] = [mapTuple(layers, (_, i) => nth(tensors, i)), tensors.slice(n)]
  const present = biases.filter(bias => bias !== undefined)
  const inputs = [x, ...a, ...b, ...present]
  const saved = [x, ...weights, ...a, ...b, ...s, ...ropeTensors(rope)]
  return recordGroup(ys, inputs, saved, (given, needs) => {
    const turnedBack = (dy: Tensor, i: number) => turnBack(dy, nth(layers, i).turned ? rope : undefined)
    const dy = given.map((each, i) => (each ? turnedBack(each, i) : zeros(x, nth(weights, i))))
    const any = (from: number, to: number) => needs.slice(from, to).some(Boolean)
    const wants = [nth(needs, 0), any(1, 1 + n), any(1 + n, 1 + 2 * n)] as const
    const operands = [handles(dy), handles(weights), ...pairs, handles(s)] as const
    const soFar = needs[0] ? claim(x) : undefined // as in loraLinear
    const found = native.loraLinearGroupBackward(x.handle, ...operands, ...settings, ...wants, soFar?.handle ?? 0)
    const ofBiases = dy.filter((_, i) => biases[i]).map((each, i) => (needs[1 + 2 * n + i] ? sumRows(each) : undefined))
    return [...found.map(handle => (handle ? new Tensor(handle) : undefined)), ...ofBiases]
  })
}

/** The rope, and a bit for each layer that it turns. */
function turnArguments(layers: readonly LoraLayer[], rope: RopeInput | undefined) {
  const [, , headDim, interleaved] = ropeArguments(rope)
  const turned = layers.reduce((bits, layer, i) => bits | (layer.turned ? 1 << i : 0), 0)
  return [handles(ropeTensors(rope)), headDim, interleaved, turned] as const
}

const handles = (tensors: readonly Tensor[]) => tensors.map(tensor => tensor.handle)

const sumRows = (dy: Tensor) => new Tensor(native.sumRows(dy.handle))

/** The gradient of an output that nothing was made of. */
function zeros(x: Tensor, w: Tensor): Tensor {
  const dy = Tensor.empty([x.rows, w.rows], { device: x.device, dtype: x.dtype })
  native.fill(dy.handle, 0)
  return dy
}
