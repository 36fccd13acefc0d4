// Comparing and searching as functions, for programs that have a model and examples.

import { check } from '../errors.ts'
import { checkOptions, type OptionsOf, SEED } from '../options.ts'
import { kindOf } from '../peft/index.ts'
import { defaultMetric } from '../tasks/scores.ts'
import { dataHash } from '../train/fingerprint.ts'
import { TRAIN_OPTIONS } from '../train/options.ts'
import { must } from '../tuple.ts'
import { type ComparedMethod, type CompareOptions, compareMethods } from './compare.ts'
import { StudyFolder } from './folder.ts'
import { type Choice, Journal, type Study, type Trial } from './journal.ts'
import type { Bench, Spec } from './member.ts'
import type { Sampler } from './samplers.ts'
import { defaultSpace, parseSpace } from './space.ts'
import { bestTrial, openStudy, STUDY_NAME, type Sweep, type SweepEvent, work } from './sweep.ts'

/** What {@link compare} runs, and where it keeps it. */
export interface ComparisonOptions extends Omit<CompareOptions, 'seeds' | 'lrs'> {
  /** Folder of the study: each run that is done is a file there. */
  readonly folder: string
  /** Default: three, from {@link SEED} on. */
  readonly seeds?: readonly number[]
  /** Points of the grid of learning rates. Default 3. */
  readonly lrs?: number
  /** Go on with the runs that the folder holds. Default false. */
  readonly resume?: boolean
  /** Remove what the folder holds. Default false. */
  readonly overwrite?: boolean
}

const COMPARISON_OPTIONS: OptionsOf<ComparisonOptions> = {
  ...{ folder: true, seeds: true, lrs: true, resume: true, overwrite: true, methods: true, budget: true },
  ...{ together: true, signal: true, tell: true, keep: true, measure: true },
}

const SWEEP_OPTIONS: OptionsOf<SweepOptions> = {
  ...{ journal: true, method: true, options: true, space: true, sampler: true, pruner: true, trials: true },
  ...{ seed: true, metric: true, together: true, signal: true, tell: true },
}

/**
 * Methods under one roof: each with a grid of learning rates, judged on validation, then with every seed at its best
 * rate. A study that was killed goes on where it was.
 * @throws ERR_DATA without a validation split; ERR_OPTION for a folder of another study, or a budget that is too short
 */
export async function compare(bench: Bench, options: ComparisonOptions): Promise<readonly ComparedMethod[]> {
  checkOptions('compare', options, COMPARISON_OPTIONS)
  const { folder: path, resume = false, overwrite = false, seeds = THREE, lrs = 3, ...more } = options
  const origin = { data: dataHash(bench.examples), base: bench.model.path ?? null, task: bench.model.task }
  const folder = await StudyFolder.open(path, { format: 'lowrank-compare', origin, resume, overwrite, files: [] })
  try {
    return await compareMethods(bench, folder, { ...more, seeds, lrs })
  } finally {
    folder.close()
  }
}

const THREE = [SEED, SEED + 1, SEED + 2]

/** What {@link sweep} searches. */
export interface SweepOptions {
  /** Journal of the search, as Optuna reads and writes it; one that is there goes on. */
  readonly journal: string
  /** Of all trials, where the space has no `method`. Default `lora`. */
  readonly method?: string
  /** Of the method, where the space does not say. Default: the method's defaults. */
  readonly options?: Readonly<Record<string, unknown>>
  /** As in a YAML file, see {@link parseSpace}. Default: the learning rate, rank and dropout. */
  readonly space?: Readonly<Record<string, unknown>>
  /** What is tried next. Default `tpe`. */
  readonly sampler?: Sampler
  /** Which trials end early. Default `asha`. */
  readonly pruner?: Sweep['pruner']
  /** Default 20. */
  readonly trials?: number
  /** Of the draws and of every run. Default {@link SEED}. */
  readonly seed?: number
  /** Of the validation split. Default: the task's. */
  readonly metric?: string
  /** How many trials may run at once, on one pass over the base. Default 16. */
  readonly together?: number
  /** Stops the search; trials under way are tried again when it goes on. */
  readonly signal?: AbortSignal | undefined
  /** Told what happens. */
  readonly tell?: ((event: SweepEvent) => void) | undefined
}

/** What a search found. */
export interface SweepResult {
  readonly best: Trial
  /** The run of the best trial: `runMember` trains it again, to the same scores. */
  readonly spec: Spec
  readonly study: Study
}

/**
 * A search over options, judged on the validation split; the test split is never looked at. Trials run at once where
 * they can share passes over the base, each as if it were alone. Other processes may share the journal.
 * @throws ERR_OPTION for a space that is wrong, ERR_DATA without a validation split or where no trial came to its end
 */
export async function sweep(bench: Bench, options: SweepOptions): Promise<SweepResult> {
  checkOptions('sweep', options, SWEEP_OPTIONS)
  const { method = 'lora', sampler = 'tpe', pruner = 'asha', trials = 20, seed = SEED, together = 16 } = options
  const { model, examples } = bench
  check(examples.validation?.length, 'ERR_DATA', () => {
    return 'sweep: there is no validation split, on which trials are judged; give one'
  })
  const space = options.space ? parseSpace(options.space, method) : defaultSpace(method)
  const metric = options.metric ?? defaultMetric(model)
  const plan: Sweep = { space, sampler, pruner, trials, seed, metric }
  const journal = new Journal(options.journal)
  await openStudy(journal, plan, {})
  const specOf = (params: Trial['params']) => specIn(params, { ...options, method, seed })
  const { train, validation } = examples
  const judged = { ...bench, examples: { train, validation } }
  const { signal, tell } = options
  await work(judged, journal, plan, { signal, tell, specOf, waits: true, together })
  const study = must(journal.study(STUDY_NAME), STUDY_NAME)
  const best = bestTrial(study, plan)
  check(best, 'ERR_DATA', () => 'sweep: no trial came to its end; widen the space, lower lr, or give more trials')
  return { best, spec: specOf(best.params), study }
}

/** The run of a trial's parameters: those that its method has not are left out. */
function specIn(
  params: Readonly<Record<string, Choice>>,
  { method: standard, options = {}, seed }: Pick<SweepOptions, 'options'> & { method: string; seed: number },
): Spec {
  const method = String(params.method ?? standard)
  const fields = new Set<string>(kindOf(method).fields.map(({ name }) => name))
  const those = (has: (name: string) => boolean) =>
    Object.fromEntries(Object.entries({ ...options, ...params }).filter(([name]) => has(name)))
  return { method, options: those(name => fields.has(name)), training: those(name => name in TRAIN_OPTIONS), seed }
}
