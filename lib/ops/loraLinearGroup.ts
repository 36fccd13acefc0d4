import { claim, isLeaf, type Postponed, postpone, recordGroup, takePostponed } from '../autograd/tape.ts'
import { type Handle, native } from '../native.ts'
import { Tensor } from '../tensor.ts'
import { type Each, mapTuple, must, nth } from '../tuple.ts'
import { ACTIVATIONS, type Activated, type Activation, activated } from './activation.ts'
import { type LowRankFactors, sharesPasses } from './factors.ts'
import { COMPUTE, type Compute } from './matmul.ts'
import { dropoutStruct } from './random.ts'
import { type RopeInput, ropeList, ropeTensors, rotateBack } from './rope.ts'

/** A frozen linear layer, w[out, in] and bias[out], with its factors. */
interface LoraLayer {
  weight: Tensor
  bias: Tensor | undefined
  factors: LowRankFactors
  /** Whether the group's rope turns its rows. Default false. */
  rotated?: boolean
}

/**
 * {@link loraLinear} of two or three layers on one x[N, in], such as query, key and value: forward reads x once for all
 * adapters, backward once for the gradients of their a, and makes dx in one product. `rope` turns the rows of some, as
 * they are written. With `kind`, not beside rope, what is returned is that activation function of each.
 */
export function loraLinearGroup<const L extends readonly LoraLayer[]>(
  x: Tensor,
  layers: L,
  compute: Compute = 'f32',
  rope?: RopeInput,
  kind?: Activation,
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
  const ending = [...ropeList(rope), rotatedBits(layers), kind !== undefined, codeOf(kind)] as const
  const made = native.loraLinearGroup(...frozen, ...pairs, ...settings, ...ending)
  const tensors = made.map(handle => new Tensor(handle))
  const [ys, s] = [mapTuple(layers, (_, i) => nth(tensors, i)), tensors.slice(n, 2 * n)]
  const present = biases.filter(bias => bias !== undefined)
  const inputs = [x, ...a, ...b, ...present]
  const saved = [x, ...weights, ...a, ...b, ...s, ...ropeTensors(rope)]
  const rows = recordGroup(ys, inputs, saved, (given, needs) => {
    const rotatedBack = (dy: Tensor, i: number) => rotateBack(dy, nth(layers, i).rotated ? rope : undefined)
    const dy = given.map((each, i) => (each ? rotatedBack(each, i) : zeros(x, nth(weights, i))))
    const any = (from: number, to: number) => needs.slice(from, to).some(Boolean)
    const wants = [nth(needs, 0), any(1, 1 + n), any(1 + n, 1 + 2 * n)] as const
    const soFar = needs[0] ? claim(x) : undefined // as in loraLinear
    const found = groupGradients({ x, dy, weights, a, b, s, settings, wants, soFar })
    const ofBiases = dy.filter((_, i) => biases[i]).map((each, i) => (needs[1 + 2 * n + i] ? sumRows(each) : undefined))
    return [...found, ...ofBiases]
  })
  return kind ? mapTuple(rows, (x, i) => activated(nth(tensors, 2 * n + i), { x, kind })) : rows
}

/** A backward pass of layers on one x: one element a layer in each list. */
interface GroupPass {
  x: Tensor
  dy: readonly Tensor[]
  weights: readonly Tensor[]
  a: readonly Tensor[]
  b: readonly Tensor[]
  s: readonly Tensor[]
  settings: readonly [scales: number[], masks: Masks, compute: number, exact: boolean]
  wants: readonly [dx: boolean, da: boolean, db: boolean]
  /** What dx is added to. */
  soFar: Tensor | undefined
  /** What x is an activation of, where dx is to be the gradient of that. */
  through?: Activated | undefined
}

type Masks = (Float64Array | null)[]

/**
 * dx, then the gradient of each a, then of each b. In half precision on a GPU those of a are left to the next pass of
 * this kind, where they belong to leaves: they ask for x and t = dy b alone, and that pass has a launch in which they
 * are made beside its own.
 */
export function groupGradients(pass: GroupPass): (Tensor | undefined)[] {
  const { x, dy, weights, a, b, s, settings, wants, soFar, through } = pass
  const [, masks, , exact] = settings
  const leavesT = sharesPasses(x) && wants[1] && a.every(isLeaf)
  const earlier = takePostponed((work): work is FactorGradients => {
    return work instanceof FactorGradients && work.suits(x, exact)
  })
  const operands = [handles(dy), handles(weights), handles(a), handles(b), handles(s)] as const
  const more = [soFar?.handle ?? 0, leavesT, earlier?.handles ?? [], earlier?.masks ?? []] as const
  const bent = [through?.x.handle ?? 0, codeOf(through?.kind)] as const
  const made = native.loraLinearGroupBackward(x.handle, ...operands, ...settings, ...wants, ...more, ...bent)
  const found = made.map(handle => (handle ? new Tensor(handle) : undefined))
  if (!leavesT) return found
  const t = must(found.pop(), 't')
  const gradients = a.map((leaf, i) => [leaf, must(found[1 + i], 'da')] as const)
  postpone(new FactorGradients([x, t], gradients, masks, exact))
  return found.map((each, i) => (i >= 1 && i <= a.length ? undefined : each))
}

/** da = tᵀ drop(x) of the layers of one pass. */
class FactorGradients implements Postponed {
  readonly reads: readonly [x: Tensor, t: Tensor]
  readonly gradients: Postponed['gradients']
  readonly masks: Masks
  readonly #exact: boolean

  constructor(reads: readonly [x: Tensor, t: Tensor], gradients: Postponed['gradients'], masks: Masks, exact: boolean) {
    this.reads = reads
    this.gradients = gradients
    this.masks = masks
    this.#exact = exact
  }

  get handles(): Handle[] {
    return handles([...this.reads, ...this.gradients.map(([, gradient]) => gradient)])
  }

  suits({ dtype, device }: Tensor, exact: boolean): boolean {
    const [x] = this.reads
    return x.dtype === dtype && x.device === device && this.#exact === exact
  }

  run(): void {
    native.loraGradients(this.handles, this.masks, this.#exact)
  }
}

/** A bit for each layer that a rope rotates. */
function rotatedBits(layers: readonly LoraLayer[]): number {
  return layers.reduce((bits, layer, i) => bits | (layer.rotated ? 1 << i : 0), 0)
}

const codeOf = (kind: Activation | undefined) => (kind ? ACTIVATIONS.indexOf(kind) : 0)

const handles = (tensors: readonly Tensor[]) => tensors.map(tensor => tensor.handle)

const sumRows = (dy: Tensor) => new Tensor(native.sumRows(dy.handle))

/** The gradient of an output that nothing was made of. */
function zeros(x: Tensor, w: Tensor): Tensor {
  const dy = Tensor.empty([x.rows, w.rows], { device: x.device, dtype: x.dtype })
  native.fill(dy.handle, 0)
  return dy
}
