// From the runs of a comparison to what is told of it.

import { higherIsBetter, metricOf } from '../metrics/table.ts'
import type { Model } from '../model.ts'
import { kindOf } from '../peft/index.ts'
import { titleOf } from '../report/compare.ts'
import type { MethodRow, MethodsData, Spread } from '../report/methods.ts'
import { taskOfModel } from '../tasks/index.ts'
import { mapTuple, must, nth, under } from '../tuple.ts'
import type { ComparedMethod, Member } from './compare.ts'
import type { Forgetting } from './forgetting.ts'
import type { Latency } from './latency.ts'
import type { Bench, Outcome } from './member.ts'
import { differenceOf, spreadOf } from './statistics.ts'

/** What is measured of a trained adapter, beside what training tells. */
export interface Extras {
  readonly forgetting?: Forgetting
  readonly latency?: Latency
  readonly adapterBytes?: number
}

type Done = Outcome & Extras

/** What only the caller knows. */
type Facts = Pick<MethodsData, 'title' | 'memory' | 'settings' | 'environment' | 'seeds'>

/** Everything that is told of a comparison, best method first. */
export function methodsData(
  { model, examples }: Bench,
  compared: readonly ComparedMethod[],
  facts: Facts,
): MethodsData {
  const split = examples.test?.length ? 'test' : 'validation'
  const metric = metricFor(model, compared)
  const scores = (runs: readonly Member[]) => donesOf(runs).map(done => under(must(done[split], split), metric))
  const full = compared.find(({ method }) => method === 'full')
  const rows = compared.map(each =>
    rowOf(each, metric, scores(each.runs), full && full !== each ? full : undefined, scores),
  )
  const sign = higherIsBetter(metric) ? -1 : 1
  const worth = ({ score }: MethodRow) => (score ? sign * score.mean : Number.POSITIVE_INFINITY)
  const { unit, better } = metricOf(metric)
  return {
    ...facts,
    task: taskOfModel(model).title,
    date: new Date().toISOString(),
    metric: { title: titleOf(metric, model), unit, better },
    split,
    examples: must(examples[split], split).length,
    rows: rows.toSorted((a, b) => worth(a) - worth(b)),
  }
}

const isDone = (outcome: Member['outcome']): outcome is Outcome => !('failed' in outcome)
const donesOf = (members: readonly Member[]): Done[] => members.map(({ outcome }) => outcome).filter(isDone)

function metricFor(model: Model, compared: readonly ComparedMethod[]): string {
  const [done] = compared.flatMap(({ grid }) => donesOf(grid))
  return done?.metric ?? taskOfModel(model).metric(model.labels)
}

function rowOf(
  { method, grid, lr, runs }: ComparedMethod,
  metric: string,
  values: readonly number[],
  full: ComparedMethod | undefined,
  scores: (runs: readonly Member[]) => number[],
): MethodRow {
  const dones = donesOf(runs)
  const [first] = dones.length > 0 ? dones : donesOf(grid)
  const spread = (of: (done: Done) => number | undefined): Spread | undefined => {
    const found = dones.flatMap(done => of(done) ?? [])
    return found.length > 0 ? spreadOf(found) : undefined
  }
  const pairs = full ? paired(runs, full.runs) : []
  const [own, other] = mapTuple([0, 1], side => scores(pairs.map(pair => nth(pair, side))))
  return {
    method,
    title: kindOf(method).title,
    lr,
    grid: grid.map(({ spec, outcome }) => ({
      lr: must(spec.training.lr, 'lr'),
      value: 'failed' in outcome ? undefined : outcome.validation?.[metric],
    })),
    score: values.length > 0 ? spreadOf(values) : undefined,
    ...(pairs.length > 0 && { difference: differenceOf(own, other) }),
    trainable: first?.trainable ?? 0,
    total: first?.total ?? 0,
    seconds: spread(done => done.seconds),
    cpuSeconds: spread(done => done.cpuSeconds),
    peakBytes: Math.max(0, ...dones.flatMap(done => done.peakBytes ?? [])),
    adapterBytes: first?.adapterBytes,
    latency: first?.latency,
    forgetting: spread(({ forgetting }) => forgetting && forgetting.after / forgetting.before),
    gap: spread(({ losses: { train, validation } }) =>
      train === undefined || validation === undefined ? undefined : validation - train,
    ),
  }
}

/** Runs of one seed in both, where neither diverged. */
function paired(runs: readonly Member[], others: readonly Member[]): [Member, Member][] {
  return runs.flatMap(run => {
    const other = others.find(each => each.spec.seed === run.spec.seed && isDone(each.outcome))
    return other && isDone(run.outcome) ? [[run, other] satisfies [Member, Member]] : []
  })
}
