// A study that is to end within a time: steps of each method are timed, and all runs get as many as fit.

import { check } from '../errors.ts'
import { isRecord } from '../options.ts'
import { resolveClassWeights } from '../train/checks.ts'
import { epochOf } from '../train/run.ts'
import { resolveTrainSettings } from '../train/settings.ts'
import { type Costs, measure } from '../train/time.ts'
import { isCount, nth } from '../tuple.ts'
import type { StudyFolder } from './folder.ts'
import { attachSpec, type Bench, type Spec } from './member.ts'

/** Options of training that decide how long a run is. */
export interface RunLength {
  readonly epochs: number
  readonly maxSteps: number
}

/** What the runs of one method take. */
interface MethodCosts extends Pick<Costs, 'step' | 'validation' | 'test' | 'spent'> {
  readonly method: string
  /** Of a run that nothing cuts short. */
  readonly totalSteps: number
  readonly stepsPerEpoch: number
}

/** Times steps and evaluations of each method; the model is as before. */
async function timeMethods(bench: Bench, specs: readonly Spec[]): Promise<MethodCosts[]> {
  const { model, examples } = bench
  const found: MethodCosts[] = []
  for (const spec of specs) {
    const adapter = attachSpec(model, spec)
    try {
      const options = { ...bench.options, ...spec.training, seed: spec.seed }
      const settings = resolveTrainSettings(adapter, options, examples)
      const { step, validation, test, spent } = await measure(adapter, examples, settings)
      const weights = resolveClassWeights(model, examples.train, settings.classWeights)
      const stepsPerEpoch = epochOf(model, examples.train, settings, weights, 0).length
      const totalSteps = Math.min(settings.epochs * stepsPerEpoch, settings.maxSteps ?? Number.POSITIVE_INFINITY)
      found.push({ method: spec.method, step, validation, test, spent, totalSteps, stepsPerEpoch })
    } finally {
      adapter.detach()
    }
  }
  return found
}

/**
 * Steps of `runs` runs of each spec, all of which end within `budget` seconds. A plan that the folder has from before
 * stays.
 */
export async function planStudy(
  bench: Bench,
  folder: StudyFolder,
  budget: number,
  runs: number,
  specs: readonly Spec[],
): Promise<RunLength> {
  const known = folder.note('length')
  if (isLength(known)) return known
  const costs = await timeMethods(bench, specs)
  const length = planSteps(
    budget,
    costs.map(cost => ({ ...cost, runs })),
  )
  await folder.setNote('length', length)
  return length
}

function isLength(value: unknown): value is RunLength {
  return isRecord(value) && isCount(value.epochs) && isCount(value.maxSteps)
}

/** Share of a budget that is planned with: steps differ, and machines have other work. */
const PLANNED = 0.85

/**
 * The steps that every run can have within `budget` seconds. What is measured of a trained adapter beside the test
 * split is taken to cost as much as that. @throws ERR_OPTION where not even one step fits, with the time that it takes
 */
export function planSteps(budget: number, costs: readonly (MethodCosts & { readonly runs: number })[]): RunLength {
  const spent = costs.reduce((sum, cost) => sum + cost.spent, 0)
  const seconds = (steps: number) =>
    costs.reduce((sum, { runs, step, validation, test, stepsPerEpoch }) => {
      const validations = Math.ceil(steps / stepsPerEpoch)
      return sum + runs * (steps * step + validations * validation + 2 * test)
    }, spent)
  const available = budget * PLANNED
  check(seconds(1) <= available, 'ERR_OPTION', () => {
    const runs = costs.reduce((sum, cost) => sum + cost.runs, 0)
    const least = Math.ceil(seconds(1) / PLANNED)
    return `budget: ${budget} s is too short, one step of each of the ${runs} runs takes ${least} s; give more time, fewer methods, seeds or rates`
  })
  const most = Math.max(...costs.map(({ totalSteps }) => totalSteps))
  let [fits, tooMany] = [1, most + 1]
  while (tooMany - fits > 1) {
    const middle = (fits + tooMany) >> 1
    if (seconds(middle) <= available) fits = middle
    else tooMany = middle
  }
  return { maxSteps: fits, epochs: Math.ceil(fits / nth(costs, 0).stepsPerEpoch) }
}
