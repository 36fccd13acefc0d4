// AdaLoRA's budget (Zhang et al. 2023): which singular values of all layers together may stay, by their importance.

import type { Parameter } from '../nn/module.ts'
import { activation } from '../ops/activation.ts'
import { add } from '../ops/add.ts'
import { matmul } from '../ops/matmul.ts'
import { multiply } from '../ops/multiply.ts'
import { scale } from '../ops/scale.ts'
import { copyInto, copyOf, scope, Tensor } from '../tensor.ts'
import { must, nth, under } from '../tuple.ts'
import type { PlaceContext, StateEntry } from './method.ts'

/** The parts of a layer's update B diag(E) A: a [r, in], b [out, r], e [r, 1]. */
export interface Triplet {
  readonly path: string
  readonly a: Parameter
  readonly b: Parameter
  readonly e: Parameter
}

interface BudgetOptions {
  /** Ranks a layer in the mean at the end. */
  readonly targetR: number
  /** Steps before the first cut, and after the last one. */
  readonly tinit: number
  readonly tfinal: number
  /** Steps between cuts. */
  readonly deltaT: number
  /** Decay of the means of sensitivity and of its uncertainty. */
  readonly sensitivityDecay: number
  readonly uncertaintyDecay: number
}

/** Which singular values stay, by layer. */
export type RankPattern = ReadonlyMap<string, readonly boolean[]>

/** How many singular values may stay after `step` of `total`, and whether this step cuts. */
function budgetAt(step: number, total: number, start: number, target: number, options: BudgetOptions) {
  const { tinit, tfinal, deltaT } = options
  if (step <= tinit) return { budget: start, cuts: false }
  if (step > total - tfinal) return { budget: target, cuts: true }
  const left = 1 - (step - tinit) / (total - tfinal - tinit)
  return { budget: Math.trunc((start - target) * left ** 3 + target), cuts: step % deltaT === 0 }
}

/** Follows importance and cuts singular values; PEFT's masks, mask for mask. */
export class Budget {
  readonly #layers: readonly Triplet[]
  readonly #options: BudgetOptions
  readonly #context: Pick<PlaceContext, 'constant'>
  /** Running means of |p · g| and of how far it strays from that mean, by parameter. */
  #means: Map<Parameter, { sensitivity: Parameter; uncertainty: Parameter }> | undefined
  #pattern: Map<string, readonly boolean[]> | undefined
  #total: number | undefined

  constructor(layers: readonly Triplet[], options: BudgetOptions, context: Pick<PlaceContext, 'constant'>) {
    this.#layers = layers
    this.#options = options
    this.#context = context
  }

  /** What the last cut left; undefined before the first. */
  get pattern(): RankPattern | undefined {
    return this.#pattern
  }

  /** Options of the file that the run has decided. */
  get settings(): { totalStep?: number; rankPattern?: Readonly<Record<string, readonly boolean[]>> } {
    const kept = [...(this.#pattern ?? [])].map(([path, mask]) => [`${path}.lora_E`, mask])
    return {
      ...(this.#total !== undefined && { totalStep: this.#total }),
      ...(this.#pattern && { rankPattern: Object.fromEntries(kept) }),
    }
  }

  /** Ranks of all layers now. */
  get kept(): number {
    const all = this.#layers.reduce((sum, { e }) => sum + e.size, 0)
    return this.#pattern ? [...this.#pattern.values()].flat().filter(Boolean).length : all
  }

  async afterUpdate(step: number, total: number): Promise<void> {
    this.#total = total
    const last = total - this.#options.tfinal
    if (step < last) this.#follow()
    if (step > last) return this.#cutAgain()
    const start = this.#layers.reduce((sum, { e }) => sum + e.size, 0)
    const target = this.#options.targetR * this.#layers.length
    const { budget, cuts } = budgetAt(step, total, start, target, this.#options)
    if ((cuts || step === last) && start > budget) await this.#cut(start - budget)
  }

  #follow(): void {
    const { sensitivityDecay: beta1, uncertaintyDecay: beta2 } = this.#options
    this.#means ??= this.#fresh()
    for (const [parameter, { sensitivity, uncertainty }] of this.#means)
      scope(() => {
        const now = absolute(multiply(copyOf(parameter.tensor), must(parameter.gradient, 'gradient')))
        const mean = add(scale(sensitivity.tensor, beta1), scale(now, 1 - beta1))
        const stray = absolute(add(now, scale(mean, -1)))
        sensitivity.replace(mean)
        uncertainty.replace(add(scale(uncertainty.tensor, beta2), scale(stray, 1 - beta2)))
      })
  }

  #fresh() {
    const zeros = ({ shape }: Parameter) => {
      return this.#context.constant(shape, () => new Float32Array(shape.reduce((a, b) => a * b, 1)))
    }
    const all = this.#layers.flatMap(({ a, b, e }) => [a, b, e])
    return new Map(all.map(each => [each, { sensitivity: zeros(each), uncertainty: zeros(each) }] as const))
  }

  /** Switches off the `count` least important singular values of all layers, and those that are as little. */
  async #cut(count: number): Promise<void> {
    if (nth(this.#layers, 0).e.tensor.device.kind === 'meta') return
    this.#means ??= this.#fresh()
    // Reads are in the queue before the scope frees what they read.
    const { reads } = scope(() => ({
      reads: this.#layers.map(layer => Promise.all([this.#importance(layer).data(), layer.e.tensor.data()])),
    }))
    const found = await Promise.all(reads)
    const scores = found.map(([score]) => Array.from(score))
    const threshold = nth(
      scores.flat().sort((x, y) => x - y),
      count - 1,
    )
    this.#pattern = new Map()
    this.#layers.forEach(({ path, e }, i) => {
      const kept = nth(scores, i).map(score => score > threshold)
      must(this.#pattern, 'pattern').set(path, kept)
      e.tensor.upload(nth(found, i)[1].map((value, k) => (kept[k] ? value : 0)))
    })
  }

  #cutAgain(): void {
    for (const { path, e } of this.#layers) {
      const kept = this.#pattern?.get(path)
      if (!kept) continue
      scope(() => {
        const { device, dtype, shape } = e.tensor
        const mask = Tensor.from(Float32Array.from(kept, Number), shape, { device, dtype })
        copyInto(e.tensor, multiply(copyOf(e.tensor), mask))
      })
    }
  }

  /** Of each singular value with its vectors, [r, 1]: the score of E and the mean scores of its row and column. */
  #importance({ a, b, e }: Triplet): Tensor {
    const score = (parameter: Parameter) => {
      const { sensitivity, uncertainty } = under(must(this.#means, 'means'), parameter)
      return multiply(sensitivity.tensor, uncertainty.tensor)
    }
    const { rows: r, columns: ins } = a
    const outs = b.rows
    const ones = (shape: readonly number[]) => Tensor.ones(shape, a.tensor)
    const ofA = scale(matmul(score(a), ones([ins, 1])), 1 / ins)
    const ofB = scale(matmul(ones([1, outs]), score(b)), 1 / outs).view(0, [r, 1])
    return add(score(e), add(ofA, ofB))
  }

  /** What a checkpoint keeps. */
  state(): ReadonlyMap<string, StateEntry> {
    this.#means ??= this.#fresh()
    const entries = new Map<string, StateEntry>()
    for (const [{ name }, means] of this.#means)
      for (const kind of ['sensitivity', 'uncertainty'] as const)
        entries.set(`${name}.${kind}`, {
          shape: means[kind].shape,
          read: async () => await means[kind].tensor.floats(),
          write: values => means[kind].tensor.upload(values),
        })
    // A run that is resumed after its last step has no other to learn this from.
    entries.set('totalStep', {
      shape: [1],
      read: async () => Float64Array.of(this.#total ?? 0),
      write: ([total]) => {
        this.#total = total || undefined
      },
    })
    for (const { path, e } of this.#layers)
      entries.set(`${path}.kept`, {
        shape: [e.size],
        // Without a cut so far all stay, marked by 2.
        read: async () => Float32Array.from(this.#pattern?.get(path)?.map(Number) ?? new Array(e.size).fill(2)),
        write: values => {
          if (values[0] === 2) return
          this.#pattern ??= new Map()
          this.#pattern.set(
            path,
            Array.from(values, value => value === 1),
          )
        },
      })
    return entries
  }
}

function absolute(x: Tensor): Tensor {
  return add(activation(x, 'relu'), activation(scale(x, -1), 'relu'))
}
