// The memory that runs would take alone, for those that shared passes with others.

import type { Model } from '../model.ts'
import { planTraining } from '../train/plan.ts'
import { attachSpec, type Bench, memberOptions, type Spec } from './member.ts'

/** Highest use of the tensor pool of a run in a process that runs nothing else, planned on the meta device. */
export class Peaks implements Disposable {
  readonly #bench: Bench
  readonly #known = new Map<string, number>()
  #model: Model | undefined

  constructor(bench: Bench) {
    this.#bench = bench
  }

  /** Bytes; rates make no difference. */
  async of(spec: Spec): Promise<number> {
    const { method, options, seed, training } = spec
    const name = JSON.stringify({ method, options, seed, training: { ...training, lr: undefined } })
    const bytes = this.#known.get(name) ?? (await this.#planned(spec))
    this.#known.set(name, bytes)
    return bytes
  }

  async #planned(spec: Spec): Promise<number> {
    this.#model ??= await this.#bench.model.onMeta()
    const adapter = attachSpec(this.#model, spec)
    try {
      const { peakBytes } = await planTraining(adapter, this.#bench.examples, memberOptions(this.#bench, spec))
      return peakBytes
    } finally {
      adapter.detach()
    }
  }

  [Symbol.dispose](): void {
    this.#model?.dispose()
  }
}
