// The runs of a study, one after another: a bar for the one in progress, a line for each that is done.

import type { StepEvent } from '../../train/events.ts'
import type { Console } from './console.ts'
import { createProgress, type Progress } from './progress.ts'

export class RunBar {
  readonly #console: Console
  #label = ''
  #bar: Progress | undefined

  constructor(console: Console) {
    this.#console = console
  }

  start(label: string): void {
    this.#label = label
  }

  step({ totalSteps: total, step, loss, tokensPerSecond: rate }: StepEvent): void {
    this.#bar ??= createProgress({ label: this.#label, total, quiet: this.#console.quiet })
    this.#bar.update({ step, loss, rate })
  }

  /** Says what the run came to, in place of its bar; `label`: its own, where it is one of several at once. */
  end(outcome: string, label = this.#label): void {
    this.finish()
    this.#console.note(`${label}: ${outcome}`)
  }

  /** Clears the bar of a run that is left. */
  finish(): void {
    this.#bar?.finish()
    this.#bar = undefined
  }
}
