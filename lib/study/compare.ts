// Methods under one roof: each with a small grid of learning rates on validation, then with several seeds.

import { check, LowrankError } from '../errors.ts'
import { higherIsBetter } from '../metrics/table.ts'
import { isRecord } from '../options.ts'
import { type Adapter, kindOf } from '../peft/index.ts'
import { evaluate } from '../train/evaluate.ts'
import type { StepEvent } from '../train/events.ts'
import { defaultRate } from '../train/settings.ts'
import { must, nth, under } from '../tuple.ts'
import { planStudy, type RunLength } from './budget.ts'
import type { StudyFolder } from './folder.ts'
import { attachSpec, type Bench, type Failed, type Outcome, type Spec } from './member.ts'
import { runMembers } from './members.ts'
import { Peaks } from './peaks.ts'

/** What a comparison runs. */
export interface CompareOptions {
  readonly methods: readonly MethodChoice[]
  /** At least one; the first is that of the grid too. */
  readonly seeds: readonly number[]
  /** Points of the grid of learning rates. */
  readonly lrs: number
  /** Seconds that all of it may take. */
  readonly budget?: number | undefined
  /** How many runs of one method may share passes over the base. Default 16. */
  readonly together?: number | undefined
  readonly signal?: AbortSignal | undefined
  readonly tell?: ((event: CompareEvent) => void) | undefined
  /** While a trained adapter is on the model, for the first seed and the best rate so far. */
  readonly keep?: ((adapter: Adapter, spec: Spec) => Promise<object>) | undefined
  /** As `keep`, for every run. */
  readonly measure?: CompareOptions['keep']
}

/** A method with its options. */
export interface MethodChoice {
  readonly method: string
  readonly options: Readonly<Record<string, unknown>>
}

/** A run that is done, or was done before. */
export interface Member {
  readonly spec: Spec
  readonly outcome: Outcome | Failed
}

/** What happens while methods are compared. */
export type CompareEvent =
  | { readonly type: 'plan'; readonly members: number; readonly length: RunLength | undefined }
  /** `specs` run at once. */
  | { readonly type: 'start'; readonly specs: readonly Spec[]; readonly done: number; readonly members: number }
  | StepEvent
  | { readonly type: 'member'; readonly member: Member; readonly known: boolean }

/** What a method came to. */
export interface ComparedMethod extends MethodChoice {
  /** The runs of the first seed, by rate. */
  readonly grid: readonly Member[]
  /** The best rate on validation; undefined where every run diverged. */
  readonly lr: number | undefined
  /** The runs at that rate, one a seed. */
  readonly runs: readonly Member[]
}

/** Runs what the folder does not hold yet: each run that is done is a file there, for a study that is killed. */
export async function compareMethods(
  bench: Bench,
  folder: StudyFolder,
  options: CompareOptions,
): Promise<readonly ComparedMethod[]> {
  const { methods, seeds, lrs, budget, tell } = options
  check(methods.length > 0 && seeds.length > 0, 'ERR_OPTION', () => 'compare: name at least one method and one seed')
  check(bench.examples.validation?.length, 'ERR_DATA', () => {
    return 'compare: there is no validation split, and learning rates are chosen on it; give one, or a split with a share for it'
  })
  // A grid may go on by one rate.
  const members = methods.length * (lrs + seeds.length - (lrs > 1 && budget === undefined ? 0 : 1))
  const length = await lengthFor(bench, folder, options)
  tell?.({ type: 'plan', members, length })
  using runner = new Runner({ ...bench, options: { ...bench.options, ...length } }, folder, options, members)
  const found: ComparedMethod[] = []
  // All grids first: what is there after a kill is a whole comparison with fewer seeds.
  for (const choice of methods) found.push(await runner.grid(choice, budget === undefined))
  for (const [i, compared] of found.entries()) found[i] = await runner.withSeeds(compared, seeds.slice(1))
  return found
}

/** What a model says to a method that it cannot have, by the method's name: put on, and asked about one example. */
export async function refusals(bench: Bench, methods: readonly MethodChoice[]): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  for (const choice of methods)
    try {
      await tryOn(bench, choice)
    } catch (error) {
      if (!(error instanceof LowrankError)) throw error
      found.set(choice.method, error.message)
    }
  return found
}

async function tryOn(
  { model, examples, options: { transform } }: Bench,
  { method, options }: MethodChoice,
): Promise<void> {
  const adapter = attachSpec(model, { method, options, training: {}, seed: 0 })
  try {
    await evaluate(model, examples.train.slice(0, 1), { transform, batchSize: 1 })
  } finally {
    adapter.detach()
  }
}

/** Steps of every run: as the options say, or as many as the budget has room for. A plan that was made stays. */
async function lengthFor(bench: Bench, folder: StudyFolder, options: CompareOptions): Promise<RunLength | undefined> {
  const { budget, methods, lrs, seeds } = options
  if (budget === undefined) return undefined
  const runs = lrs + seeds.length - 1
  const specs = methods.map(({ method, options }) => ({ method, options, training: {}, seed: nth(seeds, 0) }))
  return await planStudy(bench, folder, budget, runs, specs)
}

function isMember(value: unknown): value is Member {
  return isRecord(value) && isRecord(value.spec) && isRecord(value.spec.options) && isRecord(value.outcome)
}

const FACTOR = Math.sqrt(10)

/** Rates around the method's own, √10 apart. */
export function gridAround(center: number, points: number): number[] {
  return Array.from({ length: points }, (_, i) => rounded(center * FACTOR ** (i - (points - 1) / 2)))
}

const rounded = (lr: number) => Number(lr.toPrecision(2))

class Runner {
  readonly #bench: Bench
  readonly #folder: StudyFolder
  readonly #options: CompareOptions
  readonly #members: number
  readonly #peaks: Peaks
  #done = 0

  constructor(bench: Bench, folder: StudyFolder, options: CompareOptions, members: number) {
    this.#bench = bench
    this.#folder = folder
    this.#options = options
    this.#members = members
    this.#peaks = new Peaks(bench)
  }

  [Symbol.dispose](): void {
    this.#peaks[Symbol.dispose]()
  }

  /** The first seed at every rate; where the best is at an end and `extend` says so, one more beyond it. */
  async grid(choice: MethodChoice, extend: boolean): Promise<ComparedMethod> {
    const { lrs, seeds } = this.#options
    const center = defaultRate(this.#bench.model, kindOf(choice.method).lr)
    const rates = gridAround(center, lrs)
    const at = (lr: number): Spec => ({ ...choice, training: { lr }, seed: nth(seeds, 0) })
    const grid = await this.#run(rates.map(at), [])
    const best = bestOf(grid)
    const beyond = extend && lrs > 1 && best ? edge(rates, must(best.outcome.lr, 'lr')) : undefined
    if (beyond !== undefined) grid.push(...(await this.#run([at(beyond)], grid)))
    const chosen = bestOf(grid)
    return { ...choice, grid, lr: chosen?.outcome.lr, runs: chosen ? [chosen] : [] }
  }

  async withSeeds(compared: ComparedMethod, seeds: readonly number[]): Promise<ComparedMethod> {
    const { method, options, lr, runs } = compared
    if (lr === undefined) return compared
    const specs = seeds.map((seed): Spec => ({ method, options, training: { lr }, seed }))
    return { ...compared, runs: [...runs, ...(await this.#run(specs))] }
  }

  /** What specs of one method come to. `before`: the runs of the grid so far, where these are more of it. */
  async #run(specs: readonly Spec[], before?: readonly Member[]): Promise<Member[]> {
    const members = new Map<Spec, Member>()
    for (const spec of specs) {
      const known = this.#known(spec)
      if (known) members.set(spec, known)
    }
    const missing = specs.filter(spec => !members.has(spec))
    const { together = 16 } = this.#options
    for (let first = 0; first < missing.length; first += together)
      await this.#train(missing.slice(first, first + together), members, before)
    return specs.map(spec => must(members.get(spec), nameOf(spec)))
  }

  #known(spec: Spec): Member | undefined {
    const { tell } = this.#options
    const known = this.#folder.member(nameOf(spec), isMember)
    if (!known) return undefined
    const [was, is] = [known.spec.options, spec.options].map(each => JSON.stringify(each))
    check(
      was === is,
      'ERR_OPTION',
      () => `resume: the options of ${spec.method} are ${is}, they were ${was}; give the same`,
    )
    this.#start([spec])
    tell?.({ type: 'member', member: known, known: true })
    return known
  }

  #start(specs: readonly Spec[]): void {
    this.#options.tell?.({ type: 'start', specs, done: this.#done, members: this.#members })
    this.#done += specs.length
  }

  async #train(specs: readonly Spec[], members: Map<Spec, Member>, before?: readonly Member[]): Promise<void> {
    const { signal, tell, keep, measure } = this.#options
    await runMembers(this.#bench, specs, {
      signal,
      step: tell,
      started: indices => this.#start(indices.map(index => nth(specs, index))),
      validated: async () => new Set(),
      refused: error => {
        throw error
      },
      trained: async (index, adapter, outcome) => {
        const spec = nth(specs, index)
        const isKept = before && isBest(outcome, [...before, ...members.values()])
        return { ...(await measure?.(adapter, spec)), ...(isKept ? await keep?.(adapter, spec) : {}) }
      },
      ended: async (index, outcome) => {
        if (signal?.aborted) return
        const spec = nth(specs, index)
        check(!('pruned' in outcome), 'ERR_DATA', () => `compare: ${nameOf(spec)} ended early, and nobody ended it`)
        const member: Member = { spec, outcome: 'failed' in outcome ? outcome : await this.#withPeak(spec, outcome) }
        await this.#folder.setMember(nameOf(spec), member)
        members.set(spec, member)
        tell?.({ type: 'member', member, known: false })
      },
    })
    signal?.throwIfAborted()
  }

  async #withPeak(spec: Spec, outcome: Outcome): Promise<Outcome> {
    return { ...outcome, peakBytes: outcome.peakBytes ?? (await this.#peaks.of(spec)) }
  }
}

const nameOf = ({ method, training: { lr }, seed }: Spec) => `${method}-lr${lr}-seed${seed}`

/** Its score on validation, the more the better; nothing is worse than a run that diverged. */
function worth(outcome: Member['outcome']): number {
  if ('failed' in outcome) return Number.NEGATIVE_INFINITY
  const { metric, validation } = outcome
  const value = under(must(validation, 'validation'), metric)
  if (!Number.isFinite(value)) return Number.NEGATIVE_INFINITY
  return higherIsBetter(metric) ? value : -value
}

function isBest(outcome: Outcome, before: readonly Member[]): boolean {
  return before.every(member => worth(outcome) > worth(member.outcome))
}

/** The best of a grid; of equals the first. */
function bestOf(grid: readonly Member[]): Member | undefined {
  const worths = grid.map(({ outcome }) => worth(outcome))
  const best = Math.max(...worths)
  return Number.isFinite(best) ? grid[worths.indexOf(best)] : undefined
}

/** One rate beyond the grid, where the best is at its end. */
function edge(rates: readonly number[], best: number): number | undefined {
  if (best === rates[0]) return rounded(best / FACTOR)
  return best === rates.at(-1) ? rounded(best * FACTOR) : undefined
}
