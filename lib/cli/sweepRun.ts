// What the command that searches and its workers have in common.

import { resolve } from 'node:path'
import { check } from '../errors.ts'
import { isRecord } from '../options.ts'
import { kindOf } from '../peft/index.ts'
import type { Choice, Study, Trial } from '../study/journal.ts'
import type { Bench, Spec } from '../study/member.ts'
import { STUDY_NAME, type Sweep, type SweepEvent, trialsOf } from '../study/sweep.ts'
import { dataHash } from '../train/fingerprint.ts'
import { TRAIN_OPTIONS } from '../train/options.ts'
import type { Settings } from './options/options.ts'
import { methodOptions, type Prepared, trainOptions } from './setup.ts'
import type { Console } from './terminal/console.ts'
import { metricText, plural } from './terminal/format.ts'
import { RunBar } from './terminal/runBar.ts'

/** What a study says to its workers: a user attribute of this name. */
export const ATTRIBUTE = 'lowrank'

/** All that a worker needs beside the journal and the data. */
export interface Order {
  readonly sweep: Sweep
  /** Of the command that began it, with paths from the root. */
  readonly settings: Settings
  /** SHA-256 of what the examples of the training and validation splits hold. */
  readonly data: string
}

/** What the runs share. The test split stays out: a search sees it once, at its end. */
export function benchOf({ model, examples, tokenizer }: Prepared, settings: Settings): Bench {
  const { train, validation } = examples
  check(validation?.length, 'ERR_DATA', () => {
    return 'sweep: there is no validation split, on which trials are judged; give one, or a split with a share for it'
  })
  return { model, examples: { train, validation }, options: trainOptions(settings, tokenizer, model) }
}

/** The order of a sweep. */
export function orderOf(sweep: Sweep, settings: Settings, { examples }: Prepared): Order {
  const absolute = (path: string | undefined) => (path === undefined ? undefined : resolve(path))
  const { data, train, validation, test, model, tokenizer } = settings
  const paths = { data, train, validation, test, model, tokenizer }
  const found = Object.fromEntries(Object.entries(paths).map(([name, path]) => [name, absolute(path)]))
  return { sweep, settings: { ...settings, ...found }, data: dataHash(examples) }
}

/** The order in a journal. @throws ERR_CONFIG where no sweep of ours wrote it */
export function orderIn(study: Study | undefined, path: string): Order {
  const order = study?.userAttrs[ATTRIBUTE]
  check(isOrder(order), 'ERR_CONFIG', () => {
    return `study: ${path} has no study "${STUDY_NAME}" that lowrank sweep began; name its study.log`
  })
  return order
}

function isOrder(value: unknown): value is Order {
  return isRecord(value) && isRecord(value.sweep) && isRecord(value.settings)
}

/** The run of a trial's parameters: those that its method has not are left out. */
export function specOf(settings: Settings, params: Readonly<Record<string, Choice>>): Spec {
  const merged = { ...settings, ...params, method: methodIn(settings, params) }
  const training = Object.fromEntries(Object.entries(params).filter(([name]) => name in TRAIN_OPTIONS))
  return { method: merged.method, options: methodOptions(merged), training, seed: settings.seed }
}

const methodIn = ({ method }: Settings, params: Readonly<Record<string, Choice>>) => String(params.method ?? method)

/** Parameters that count for the method of a trial. */
export function ownParams(settings: Settings, params: Readonly<Record<string, Choice>>): Record<string, Choice> {
  const { fields } = kindOf(methodIn(settings, params))
  const isOwn = (name: string) =>
    name === 'method' || name in TRAIN_OPTIONS || fields.some(field => field.name === name)
  return Object.fromEntries(Object.entries(params).filter(([name]) => isOwn(name)))
}

/** One line for each trial, and a bar for the one in progress. */
export class SweepProgress {
  readonly #console: Console
  readonly #sweep: Sweep
  readonly #run: RunBar
  #isWaiting = false

  constructor(console: Console, sweep: Sweep) {
    this.#console = console
    this.#run = new RunBar(console)
    this.#sweep = sweep
  }

  take(event: SweepEvent): void {
    const console = this.#console
    switch (event.type) {
      case 'start': {
        const { trials, done } = event
        const [first, ...more] = trials.map(each => `${each.number}`)
        const which = more.length > 0 ? `trials ${first} to ${more.at(-1)} at once` : `trial ${first}`
        this.#run.start(`${which} (${done}/${trialsOf(this.#sweep)})`)
        break
      }
      case 'step':
        this.#run.step(event)
        break
      case 'trial': {
        this.#run.end(outcomeText(event.trial, this.#sweep), `trial ${event.trial.number}, ${paramsText(event.trial)}`)
        const { intermediate, ...trial } = event.trial
        console.event({ type: 'trial', ...trial, intermediate: Object.fromEntries(intermediate) })
        break
      }
      case 'retry':
        console.note(`trial ${event.trial.number}: its worker is gone; it is tried again`)
        break
      case 'wait':
        if (!this.#isWaiting) console.note(`waiting for ${plural(event.running, 'trial')} of other workers`)
        this.#isWaiting = true
    }
  }

  finish(): void {
    this.#run.finish()
  }
}

function paramsText({ params }: Trial): string {
  return Object.entries(params)
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(', ')
}

function outcomeText({ state, values, intermediate, userAttrs }: Trial, { metric }: Sweep): string {
  if (state === 'complete') return `${metric} ${metricText(values?.[0])}`
  if (state === 'pruned') return `${metric} ${metricText([...intermediate.values()].at(-1))}, ended early`
  return String(userAttrs.diverged ?? 'failed')
}
