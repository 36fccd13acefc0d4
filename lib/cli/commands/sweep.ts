// `lowrank sweep`: a search over options, judged on the validation split.

import { basename, join } from 'node:path'
import { stringify } from 'yaml'
import { check } from '../../errors.ts'
import { portableName } from '../../hub/id.ts'
import { writeFileAtomic } from '../../io/atomic.ts'
import { readText } from '../../io/json.ts'
import { metricOf } from '../../metrics/table.ts'
import { secondsOf } from '../../options.ts'
import { saveAdapter } from '../../peft/index.ts'
import { titleOf } from '../../report/compare.ts'
import { type Axis, renderSweep, type SweepData, type TrialRow } from '../../report/sweep.ts'
import { planStudy } from '../../study/budget.ts'
import { StudyFolder } from '../../study/folder.ts'
import { importanceOf } from '../../study/importance.ts'
import { type Distribution, Journal, operations, type Study, type Trial } from '../../study/journal.ts'
import { type Bench, type Outcome, runMember } from '../../study/member.ts'
import { defaultSpace, parseSpace, type Space, shareOf, valueAt } from '../../study/space.ts'
import { bestTrial, openStudy, STUDY_NAME, type Sweep, trialsOf, trialsOver, work } from '../../study/sweep.ts'
import { taskOfModel } from '../../tasks/index.ts'
import { defaultMetric } from '../../tasks/scores.ts'
import { must, nth, under } from '../../tuple.ts'
import { defaultOut } from '../data.ts'
import { onInterrupt, stoppedStudy } from '../interrupt.ts'
import { optionsOf, type Settings } from '../options/options.ts'
import { parseYaml } from '../options/yaml.ts'
import { type Prepared, prepareBase, saveOptions } from '../setup.ts'
import { settingsTable, studyOrigin } from '../studyFacts.ts'
import { ATTRIBUTE, benchOf, type Order, orderOf, ownParams, SweepProgress, specOf } from '../sweepRun.ts'
import { type Console, plainJson } from '../terminal/console.ts'
import { commandLine, metricText, plural, shownPath } from '../terminal/format.ts'

/** Searches, retrains the best, and writes what came out. */
export async function sweepCommand(settings: Settings, console: Console): Promise<number> {
  const space = spaceOf(settings)
  const prepared = await prepareBase(settings, console, settings.device)
  try {
    const { sampler, pruner, trials, seed } = settings
    const metric = settings.metric ?? defaultMetric(prepared.model)
    const sweep: Sweep = { space, sampler, pruner, trials, seed, metric }
    checkBudget(settings, space)
    const folder = await StudyFolder.open(settings.out ?? defaultOut(settings, 'sweep'), {
      format: 'lowrank-sweep',
      origin: { ...studyOrigin(prepared, settings), space, sampler, pruner, seed, method: settings.method },
      resume: settings.resume !== false,
      overwrite: settings.overwrite,
      files: ['study.log', 'best', 'best.yaml', 'sweep.html', 'sweep.json'],
    })
    try {
      const planned = await within(settings, prepared, sweep, folder, console)
      const bench = benchOf(prepared, planned)
      return await search({ bench, prepared, sweep, folder, settings: planned, console })
    } finally {
      folder.close()
    }
  } finally {
    prepared.model.dispose()
  }
}

const PLANNED = ['epochs', 'maxSteps'] as const

function checkBudget({ budget }: Settings, space: Space): void {
  const searched = budget === undefined ? undefined : PLANNED.find(name => name in space)
  check(searched === undefined, 'ERR_OPTION', () => {
    return `budget: plans ${searched}, which the space searches; leave one of them out`
  })
}

/** Settings whose steps end within the budget, if there is one. What was planned stays. */
async function within(
  settings: Settings,
  prepared: Prepared,
  { space, trials, sampler }: Sweep,
  folder: StudyFolder,
  console: Console,
): Promise<Settings> {
  const { budget } = settings
  if (budget === undefined) return settings
  const runs = trialsOf({ space, trials, sampler }) + 1 // the best is trained again
  const params = Object.fromEntries(Object.entries(space).map(([name, each]) => [name, valueAt(each, 0.5)]))
  const length = await planStudy(benchOf(prepared, settings), folder, must(secondsOf(budget), 'budget'), runs, [
    specOf(settings, params),
  ])
  console.note(`${plural(length.maxSteps, 'step')} a trial fit into ${budget}`)
  return { ...settings, ...length }
}

interface Search {
  readonly bench: Bench
  readonly prepared: Prepared
  readonly sweep: Sweep
  readonly folder: StudyFolder
  readonly settings: Settings
  readonly console: Console
}

async function search(parts: Search): Promise<number> {
  const { bench, prepared, sweep, folder, settings, console } = parts
  const journal = new Journal(join(folder.path, 'study.log'))
  await ordered(journal, orderOf(sweep, settings, prepared))
  console.note(`other processes join with: ${commandLine(['sweep', 'worker', '--study', shownPath(journal.path)])}`)
  const progress = new SweepProgress(console, sweep)
  const interrupt = onInterrupt(console.warn)
  const { signal } = interrupt
  try {
    const options = {
      signal,
      tell: progress.take.bind(progress),
      specOf: specOf.bind(undefined, settings),
      waits: true,
      together: settings.together,
    }
    await work(bench, journal, sweep, options)
    await finish(parts, must(journal.study(STUDY_NAME), STUDY_NAME), signal)
    return 0
  } catch (error) {
    const { overwrite } = settings
    return stoppedStudy(error, signal, { kept: 'trials', out: folder.path, overwrite }, console)
  } finally {
    progress.finish()
    interrupt.release()
  }
}

/** The study with its order, which may ask for more trials than before. */
async function ordered(journal: Journal, order: Order): Promise<void> {
  const study = await openStudy(journal, order.sweep, { [ATTRIBUTE]: order })
  const isNew = JSON.stringify(study.userAttrs[ATTRIBUTE]) !== JSON.stringify(order)
  if (isNew) await journal.append(() => [operations.studyAttr(study, ATTRIBUTE, JSON.parse(JSON.stringify(order)))])
}

function spaceOf({ space, method }: Settings): Space {
  return space === undefined
    ? defaultSpace(method)
    : parseSpace(parseYaml(space, readText(space, 'ERR_OPTION')), method)
}

/** Trains the best trial again, now with the test split, and writes page, configuration and adapter. */
async function finish(parts: Search, study: Study, signal: AbortSignal): Promise<void> {
  const { bench, prepared, folder, settings, console, sweep } = parts
  const best = bestTrial(study, sweep)
  check(best, 'ERR_DATA', () => 'sweep: no trial came to its end; widen the space, lower lr, or give more trials')
  const file = (name: string) => join(folder.path, name)
  await writeFileAtomic(file('best.yaml'), bestYaml(settings, best, sweep))
  console.note(`training trial ${best.number} again, with the test split`)
  const outcome = await runMember({ ...bench, examples: prepared.examples }, specOf(settings, best.params), {
    signal,
    trained: async adapter => ({ saved: await saveAdapter(adapter, file('best'), saveOptions(prepared)) }),
  })
  signal.throwIfAborted()
  check('validation' in outcome, 'ERR_DATA', () => `sweep: trial ${best.number} came to no end when trained again`)
  const [was, is] = [must(best.values, 'values')[0], must(outcome.validation, 'validation')[sweep.metric]]
  if (was !== is)
    console.warn(`retrained, trial ${best.number} has ${sweep.metric} ${is}, not ${was}: another machine ran it`)
  const record = sweepData(parts, study, best, outcome.test?.[sweep.metric])
  const whole = { ...record, best: { number: best.number, params: ownParams(settings, best.params), outcome } }
  await writeFileAtomic(file('sweep.json'), `${plainJson(whole, 1)}\n`)
  await writeFileAtomic(file('sweep.html'), renderSweep(record))
  show(parts, best, outcome)
}

function show({ folder, settings, sweep, console }: Search, best: Trial, { validation, test }: Outcome): void {
  const { metric } = sweep
  const params = ownParams(settings, best.params)
  const text = Object.entries(params).map(([name, value]) => `${name} ${String(value)}`)
  console.line(`best: trial ${best.number}, ${text.join(', ')}`)
  const tested = test ? `, test ${metricText(test[metric])} (read once)` : ''
  console.line(`${metric}: validation ${metricText(must(validation, 'validation')[metric])}${tested}`)
  console.line(`config    ${shownPath(join(folder.path, 'best.yaml'))}`)
  console.line(`report    ${shownPath(join(folder.path, 'sweep.html'))}`)
  const scores = { validation: must(validation, 'validation')[metric], test: test?.[metric] ?? null }
  console.event({ type: 'summary', out: folder.path, metric, trial: best.number, params, ...scores })
}

const NOT_OF_A_RUN = ['out', 'resume', 'overwrite', 'json', 'quiet', 'config', 'threads', 'dryRun']

/** What `lowrank train --config` takes to train the best trial again. */
function bestYaml(settings: Settings, best: Trial, { metric }: Sweep): string {
  const merged: Record<string, unknown> = { ...settings, ...ownParams(settings, best.params) }
  const names = optionsOf('train').filter(({ name }) => !NOT_OF_A_RUN.includes(name))
  const told = names.flatMap(({ name, default: standard }) => {
    const value = merged[name]
    const isStandard = JSON.stringify(value) === JSON.stringify(standard)
    return value === undefined || (isStandard && !(name in best.params)) ? [] : [[name, value] as const]
  })
  const head = `# Trial ${best.number}: validation ${metric} ${must(best.values, 'values')[0]}. lowrank train --config best.yaml\n`
  return head + stringify(Object.fromEntries(told))
}

function sweepData(
  { prepared, sweep, settings }: Search,
  study: Study,
  best: Trial,
  test: number | undefined,
): SweepData {
  const { model } = prepared
  const trials = trialsOver(study, sweep)
  const rows = trials.map((trial): TrialRow => {
    const value = trial.values?.[0] ?? [...trial.intermediate.values()].at(-1)
    const { seconds: noted } = trial.userAttrs
    const seconds = typeof noted === 'number' ? noted : undefined
    const state = trial.state === 'complete' || trial.state === 'pruned' ? trial.state : 'diverged'
    return { number: trial.number, state, params: ownParams(settings, trial.params), value, seconds }
  })
  const { unit, better } = metricOf(sweep.metric)
  const path = settings.data ?? must(settings.train, 'train')
  return {
    title: `A search on ${basename(path)}`,
    task: taskOfModel(model).title,
    date: new Date().toISOString(),
    metric: { title: titleOf(sweep.metric, model), unit, better },
    rows,
    best: best.number,
    test,
    axes: Object.entries(sweep.space).map(([name, each]) => axisOf(name, each, trials, rows)),
    settings: settingsTable(settings, prepared.base.bundled ? 'the bundled encoder' : portableName(prepared.base.path)),
  }
}

function axisOf(name: string, distribution: Distribution, trials: readonly Trial[], rows: readonly TrialRow[]): Axis {
  const told = trials.flatMap((trial, i) => {
    const { value, state } = nth(rows, i)
    return value === undefined || state !== 'complete' ? [] : [{ param: under(trial.params, name), value }]
  })
  const importance = importanceOf(
    distribution,
    told.map(({ param }) => param),
    told.map(({ value }) => value),
  )
  return {
    name,
    importance,
    ticks: ticksOf(distribution),
    places: trials.map(({ params }) => shareOf(distribution, under(params, name))),
  }
}

function ticksOf(distribution: Distribution): Axis['ticks'] {
  const values =
    distribution.name === 'CategoricalDistribution'
      ? distribution.attributes.choices
      : [distribution.attributes.low, distribution.attributes.high]
  return values.map(value => ({ at: shareOf(distribution, value), text: String(value) }))
}
