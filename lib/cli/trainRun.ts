// One training run as the command line shows it: progress, trackers, then adapter, report and tables.

import { join } from 'node:path'
import { LowrankError } from '../errors.ts'
import type { Model } from '../model.ts'
import { secondsOf } from '../options.ts'
import { type Adapter, saveAdapter } from '../peft/index.ts'
import { titleOf } from '../report/compare.ts'
import { clockText } from '../report/format.ts'
import { recordRun } from '../report/run.ts'
import { createTracker, type RunStatus, type Tracker } from '../trackers/index.ts'
import type { EndEvent, EvaluationEvent, StartEvent, StepEvent, TrainEvent, TrainOptions } from '../train/events.ts'
import { train } from '../train/train.ts'
import { must } from '../tuple.ts'
import { onInterrupt, resumeCommand } from './interrupt.ts'
import type { Settings } from './options/options.ts'
import { plainSettings, runSettings } from './options/settings.ts'
import { type RunSetup, saveOptions, trainOptions } from './setup.ts'
import type { Console } from './terminal/console.ts'
import { countText, deviceText, metricText, titleWithBest } from './terminal/format.ts'
import { createProgress, evaluationBar, type Progress } from './terminal/progress.ts'
import { foundIn, type RunOutcome, writeOutcome } from './trainOutput.ts'

/** Instruction sets whose products in bf16 were measured beside those in f32: docs/cpu.md, docs/results.md. */
const WITH_BF16: ReadonlySet<string> = new Set(['amx', 'avx512bf16'])

/** How a run ended: the code for the shell, and its results unless it was interrupted. */
interface RunEnd {
  readonly exitCode: number
  readonly outcome?: RunOutcome
}

/** Trains, and writes what came out. The first Ctrl-C stops after the step with a checkpoint, the second at once. */
export async function runTraining(trial: RunSetup, settings: Settings, console: Console): Promise<RunEnd> {
  const names = settings.trackers.filter(name => name !== 'none')
  const trackers = names.map(name => createTracker(name, trial.folder.work))
  const watch = new Watch(trial, settings, console, trackers)
  const interrupt = onInterrupt(text => watch.warn(text))
  let status: RunStatus = 'failed'
  try {
    const { model, attached, teacher, examples } = trial
    const events = train(attached, examples, {
      ...trainOptions(settings, trial.tokenizer, model),
      ...checkpointOptions(trial, settings),
      teacher,
      signal: interrupt.signal,
      progress: evaluationBar(settings.quiet),
    })
    for await (const event of events) await watch.take(event)
    status = must(watch.end, 'end').reason === 'aborted' ? 'stopped' : 'finished'
  } finally {
    interrupt.release()
    watch.progress?.finish()
    await watch.finish(status)
  }
  const { end } = watch
  if (must(end, 'end').reason === 'aborted') return aborted(must(end, 'end'), trial, settings, console)
  const whole = trial.attached.config() === undefined
  await trial.folder.results()
  const dir = join(trial.folder.work, whole ? 'model' : 'adapter')
  const folder = await saveAdapter(trial.attached, dir, saveOptions(trial))
  const outcome = await writeOutcome({ trial, settings, run: watch.recorder.record(), folder }, console)
  return { exitCode: 0, outcome }
}

function checkpointOptions({ folder, checkpoints }: RunSetup, settings: Settings): Partial<TrainOptions> {
  if (!checkpoints) return {}
  const { checkpointEvery, keepCheckpoints, resume } = settings
  // Whatever is there, the folder has seen to it that it is the run's own, or of one that may be replaced.
  const overwrite = resume === false
  return { outputDir: join(folder.work, 'checkpoints'), checkpointEvery, keepCheckpoints, resume, overwrite }
}

function aborted(end: EndEvent, trial: RunSetup, { overwrite }: Settings, console: Console): RunEnd {
  const { checkpoint, step, reason } = end
  const how = checkpoint
    ? `continue with: ${resumeCommand(process.argv.slice(2), overwrite)}`
    : 'nothing was saved, since no step was done or checkpoints are off'
  console.note(`stopped after step ${step}; ${how}`)
  console.event({ type: 'summary', reason, step, checkpoint: checkpoint ?? null, out: trial.folder.out })
  return { exitCode: 130 }
}

const referenceText: Readonly<Record<'base' | 'start', string>> = {
  start: 'reference: a copy of the model as it stands before the first step; it was asked once, here',
  base: 'reference: the model with its adapter switched off; it was asked once, here',
}

const teacherText = ({ parameters, weight, temperature }: NonNullable<StartEvent['teacher']>) =>
  `teacher: ${countText(parameters)} parameters; ${weight} of the loss is its, at temperature ${temperature}`

/** What the events of a run leave behind. */
class Watch {
  start: StartEvent | undefined
  end: EndEvent | undefined
  progress: Progress | undefined
  readonly recorder: ReturnType<typeof recordRun>
  readonly #model: Model
  readonly #attached: Adapter
  readonly #settings: Settings
  readonly #console: Console
  #trackers: readonly Tracker[]
  readonly #folder: RunSetup['folder']
  #loss: number | undefined
  #rate: number | undefined

  constructor(trial: RunSetup, settings: Settings, console: Console, trackers: readonly Tracker[]) {
    const { model, attached, examples, tokenizer, data } = trial
    const reader = { tokenizer, labels: model.labels, columns: data.columns }
    this.recorder = recordRun({ model, attached, examples, reader })
    this.#model = model
    this.#attached = attached
    this.#folder = trial.folder
    this.#settings = settings
    this.#console = console
    this.#trackers = trackers
  }

  async take(event: TrainEvent): Promise<void> {
    this.#console.event(lean(event))
    this.recorder.take(event)
    switch (event.type) {
      case 'start':
        return this.#started(event)
      case 'step':
        return this.#stepped(event)
      case 'epoch':
        this.#loss = event.loss
        return this.#record(event.step, { 'train/epochLoss': event.loss })
      case 'evaluation':
        return this.#evaluated(event)
      case 'warning':
        return this.warn(`${event.message}; ${event.cure}`)
      case 'end':
        this.end = event
    }
  }

  /** A warning, above the progress line where there is one. */
  warn(text: string): void {
    if (this.progress && !this.#settings.quiet) this.progress.log(`warning: ${this.#console.named(text)}`)
    else this.#console.warn(text)
  }

  async #started(event: StartEvent): Promise<void> {
    this.start = event
    const { trainable, total, totalSteps, stepsPerEpoch, resumed, examples } = event
    const note = this.#console.note
    note(`${event.method} trains ${countText(trainable)} of ${countText(total)} parameters`)
    const { time } = this.#settings
    const within = time === undefined ? '' : `, to end within ${clockText(must(secondsOf(time), 'time'))}`
    const { lr, headLr } = event
    const rates = headLr === undefined ? `lr ${lr}` : `lr ${lr}, of the new head ${headLr}`
    note(`${totalSteps} steps, ${stepsPerEpoch} an epoch${within}, on ${deviceText(event)}, ${rates}`)
    const flows = event.compute === 'bf16' && event.storage !== 'f64' ? 'products and activations' : 'products'
    note(`frozen weights in ${event.storage}, ${flows} in ${event.compute}, adapters and sums in f32`)
    if (event.compute === 'f32' && event.device === 'cpu' && WITH_BF16.has(event.isa))
      note(
        `products in bf16 take about half the time on this processor, with its instructions for them: --compute bf16`,
      )
    if (event.reference) note(referenceText[event.reference])
    if (event.teacher) note(teacherText(event.teacher))
    if (resumed) note(`continuing after step ${resumed.step} from ${resumed.path}`)
    else if (this.#settings.evaluateBefore && examples.validation + examples.test > 0)
      note(`evaluating before training on ${examples.validation + examples.test} examples`)
    const metrics = [`validation/${event.metric}`, `test/${event.metric}`]
    const settled = plainSettings(runSettings(this.#settings, this.#attached.method, foundIn(event)))
    const run = { hyperparameters: settled, metrics, firstStep: resumed ? resumed.step + 1 : 0 }
    await this.#folder.begin()
    await this.#track(tracker => tracker.start(run))
  }

  async #stepped(event: StepEvent): Promise<void> {
    const { step, totalSteps, loss, lr, gradNorm, tokensPerSecond, penalty } = event
    this.progress ??= createProgress({
      label: 'Training',
      total: totalSteps,
      first: step - 1,
      quiet: this.#settings.quiet,
    })
    // Steps differ in length and take turns with other processes: the mean of the last ones says more.
    this.#rate = this.#rate === undefined ? tokensPerSecond : 0.9 * this.#rate + 0.1 * tokensPerSecond
    this.progress.update({ step, loss, rate: this.#rate })
    const scalars = {
      'train/loss': loss,
      'train/lr': lr,
      'train/gradNorm': gradNorm,
      'train/tokensPerSecond': tokensPerSecond,
    }
    return this.#record(step, penalty === undefined ? scalars : { ...scalars, 'train/penalty': penalty })
  }

  async #evaluated(event: EvaluationEvent): Promise<void> {
    const { when, split, step, epoch, metrics, best } = event
    const scalars = Object.entries(metrics).map(([name, value]) => [`${split}/${name}`, value])
    if (when !== 'after' || split === 'test') await this.#record(step, Object.fromEntries(scalars))
    if (when !== 'epoch') return
    await this.#ranks(step)
    const metric = must(this.start, 'start').metric
    const title = titleOf(metric, this.#model)
    const shown = metric === 'loss' ? '' : `, ${title} ${metricText(metrics[metric])}`
    const trained = this.#loss === undefined ? '' : `training loss ${metricText(this.#loss)}, `
    const line = `epoch ${+epoch.toFixed(2)}: ${trained}validation loss ${metricText(metrics.loss)}${shown}`
    if (!this.#settings.quiet) this.progress?.log(titleWithBest(line, best))
  }

  /** Singular values that train, and how many of each layer are left. */
  async #ranks(step: number): Promise<void> {
    for (const [path, tensor] of this.#attached.training.singularValues?.() ?? []) {
      const values = Float64Array.from(await tensor.floats())
      await this.#record(step, { [`ranks/${path}`]: values.filter(value => value !== 0).length })
      await this.#track(tracker => tracker.histogram?.(step, `sigma/${path}`, values))
    }
  }

  async #record(step: number, scalars: Readonly<Record<string, number>>): Promise<void> {
    await this.#track(tracker => tracker.scalars(step, scalars))
  }

  /** Tells the trackers how the run ended. */
  async finish(status: RunStatus): Promise<void> {
    if (this.start) await this.#track(tracker => tracker.finish(status))
  }

  /** A record that cannot be written costs its tracker, not the run. */
  async #track(tell: (tracker: Tracker) => void | Promise<void>): Promise<void> {
    for (const tracker of this.#trackers)
      try {
        await tell(tracker)
      } catch (error) {
        if (!(error instanceof LowrankError)) throw error
        this.#trackers = this.#trackers.filter(other => other !== tracker)
        this.warn(`${error.message}; the run goes on without this record`)
      }
  }
}

/** An event as a JSON line: without predictions and histories. */
function lean(event: TrainEvent): object {
  if (event.type === 'evaluation') {
    const { evaluation, ...rest } = event
    return { ...rest, examples: evaluation.examples, seconds: evaluation.seconds }
  }
  if (event.type === 'end') {
    const { history: _, ...rest } = event
    return rest
  }
  if (event.type !== 'start' || !event.resumed) return event
  const { step, path } = event.resumed
  return { ...event, resumed: { step, path } }
}
