// Training as four verbs, for adapters by name: gradients, updates, texts, and all of it in a folder. What `train` does
// with a data set is made of the same parts.

import type { Step } from '../data/batches.ts'
import { check, fail, nearest } from '../errors.ts'
import { type Completion, complete, type GenerateOptions, type Prompt, TEXT_OPTIONS } from '../generate/generate.ts'
import type { CacheOptions } from '../generate/kvCache.ts'
import { writeFolderAtomic } from '../io/atomic.ts'
import type { Model } from '../model.ts'
import { ADAMW_OPTIONS, AdamW, type AdamWOptions } from '../optim/adamw.ts'
import { checkOptions, SEED } from '../options.ts'
import type { Adapter } from '../peft/adapter.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { must, nth } from '../tuple.ts'
import { restoreCheckpoint, stateWriter, stepsIn } from './checkpoint.ts'
import { arenaOf } from './run.ts'
import { type Objective, Stepper, supervised } from './step.ts'

/** How {@link Tuner.optimStep} updates: the learning rate, and settings of AdamW that differ from those before. */
export interface UpdateOptions extends AdamWOptions {
  readonly lr: number
}

/** How {@link Tuner.sample} makes a text. */
export interface SampleTextOptions extends GenerateOptions, Pick<CacheOptions, 'cacheType'> {}

interface Member {
  readonly adapter: Adapter<Model>
  readonly optimizer: AdamW
  readonly stepper: Stepper
  /** Whether its gradients are those of the step to come. */
  hasGradients: boolean
}

/**
 * Trains and asks the adapters of one model, each by its name and with an optimizer of its own. Calls run one after
 * another, in the order in which they were made; while one runs, its adapter alone is switched on. Dispose it to free
 * the optimizers; the adapters stay as they are.
 */
export class Tuner implements Disposable {
  readonly model: Model
  readonly #tokenizer: Tokenizer | undefined
  readonly #seed: number
  readonly #members = new Map<string, Member>()
  #last: Promise<unknown> = Promise.resolve()

  /** @param options `tokenizer`: what {@link sample} needs; `seed`: keys every dropout, default {@link SEED} */
  constructor(model: Model, options: { readonly tokenizer?: Tokenizer; readonly seed?: number } = {}) {
    checkOptions('Tuner', options, { tokenizer: true, seed: true })
    this.model = model
    this.#tokenizer = options.tokenizer
    this.#seed = options.seed ?? SEED
  }

  /**
   * Adds the gradients of a step, or of a part of it, to those of an adapter. Resolves to its part of the loss: the
   * mean over `total`, the supervised weight of all parts together.
   * @throws ERR_OPTION for an adapter that the model does not have or that can't train, and for what is no step;
   * ERR_MEMORY
   */
  forwardBackward(
    name: string,
    step: Pick<Step, 'microBatches' | 'total'>,
    objective: Objective = supervised(),
  ): Promise<number> {
    return this.#inTurn(name, async () => {
      const { microBatches, total } = step ?? {}
      check(Array.isArray(microBatches), 'ERR_OPTION', () => {
        return 'forwardBackward: the second argument has no microBatches; give a step of batches(examples, …)'
      })
      check(Number.isFinite(total) && total > 0, 'ERR_OPTION', () => `total: ${total}, expected a number above 0`)
      const member = this.#member(name)
      const { optimizer, stepper } = member
      if (!member.hasGradients) optimizer.arena.zeroGrads()
      member.hasGradients = true
      const losses: Promise<number>[] = []
      for (const batch of microBatches)
        losses.push((await stepper.forwardBackward(batch, total, optimizer.steps, objective)).loss)
      return (await Promise.all(losses)).reduce((sum, loss) => sum + loss, 0)
    })
  }

  /**
   * Updates an adapter by its gradients, which are then used up. Resolves to their norm before clipping.
   * @throws ERR_OPTION where there are none, or for a setting out of range
   */
  async optimStep(name: string, options: UpdateOptions): Promise<number> {
    checkOptions('optimStep', options, { ...ADAMW_OPTIONS, lr: true })
    const { lr, ...settings } = options
    return this.#inTurn(name, async () => {
      const member = this.#member(name)
      check(
        member.hasGradients,
        'ERR_OPTION',
        () => `optimStep: "${name}" has no gradients; call forwardBackward first`,
      )
      check(Number.isFinite(lr) && lr >= 0, 'ERR_OPTION', () => `lr: ${lr}, expected 0 or more`)
      const { optimizer, stepper, adapter } = member
      Object.assign(optimizer.options, new AdamW(optimizer.arena, { ...optimizer.options, ...settings }).options)
      member.hasGradients = false
      const { gradNorm } = stepper.optimStep(lr)
      await adapter.training.afterUpdate?.(optimizer.steps, 0)
      return await gradNorm
    })
  }

  /** What the model says to a prompt under an adapter, or under none of its name. @throws as `generate` */
  async sample(name: string | undefined, prompt: Prompt, options: SampleTextOptions = {}): Promise<Completion> {
    checkOptions('sample', options, { ...TEXT_OPTIONS, cacheType: true })
    return this.#inTurn(name, async () => {
      const tokenizer =
        this.#tokenizer ?? fail('ERR_OPTION', 'sample: it takes a tokenizer; new Tuner(model, { tokenizer })')
      const [texts] = await complete(this.model, tokenizer, [prompt], options)
      return nth(must(texts, 'texts'), 0)
    })
  }

  /**
   * Writes an adapter as PEFT does (one of another name than `default` into a folder of that name), with its optimizer:
   * going on from it gives the same bytes as going on without. Gradients that are under way are not part of it. The
   * folder appears whole or not at all.
   */
  saveState(name: string, folder: string): Promise<void> {
    return this.#inTurn(name, async () => {
      const { adapter, optimizer } = this.#member(name)
      await writeFolderAtomic(folder, await stateWriter(adapter, optimizer))
    })
  }

  /**
   * Puts a state back that {@link saveState} wrote of an adapter of the same shapes.
   * @throws ERR_CHECKPOINT for a folder of another
   */
  loadState(name: string, folder: string): Promise<void> {
    return this.#inTurn(name, async () => {
      const member = this.#member(name)
      restoreCheckpoint({ path: folder, step: stepsIn(folder) }, member.optimizer, member.adapter.training)
      member.hasGradients = false
    })
  }

  /** Frees the optimizers. */
  dispose(): void {
    for (const { optimizer } of this.#members.values()) optimizer.arena.dispose()
    this.#members.clear()
  }

  [Symbol.dispose](): void {
    this.dispose()
  }

  #member(name: string): Member {
    const known = this.#members.get(name)
    if (known) return known
    const adapter = this.#adapter(name)
    check(adapter.trainable.length > 0, 'ERR_OPTION', () => {
      return `adapter: "${name}" has nothing to train; load it with trainable: true`
    })
    const optimizer = new AdamW(arenaOf(adapter))
    const stepper = new Stepper(this.model, optimizer, { seed: this.#seed, training: adapter.training })
    const member = { adapter, optimizer, stepper, hasGradients: false }
    this.#members.set(name, member)
    return member
  }

  #adapter(name: string): Adapter<Model> {
    const names = [...this.model.adapters.keys()]
    const found = this.model.adapters.get(name)
    const isOwn = (adapter: Adapter): adapter is Adapter<Model> => adapter.host === this.model
    if (found && isOwn(found)) return found
    const has = names.length > 0 ? `it has ${names.join(', ')}` : 'it has none; attach one'
    fail('ERR_OPTION', `adapter: the model has no "${name}"${nearest(name, names)}; ${has}`)
  }

  /** Runs `body` when what was asked before is done, with one adapter switched on, or none. */
  #inTurn<T>(name: string | undefined, body: () => Promise<T>): Promise<T> {
    const run = async (): Promise<T> => {
      if (name !== undefined) this.#adapter(name)
      const others = [...this.model.adapters.values()].filter(each => each.isActive !== (each.name === name))
      for (const adapter of others) adapter.setActive(adapter.name === name)
      try {
        return await body()
      } finally {
        for (const adapter of others) adapter.setActive(adapter.name !== name)
      }
    }
    const result = this.#last.then(run)
    this.#last = result.catch(() => undefined)
    return result
  }
}
