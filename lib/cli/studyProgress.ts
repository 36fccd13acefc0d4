// What a study shows while its runs go by.

import type { CompareEvent, Member } from '../study/compare.ts'
import type { Spec } from '../study/member.ts'
import type { Console } from './terminal/console.ts'
import { metricText, plural } from './terminal/format.ts'
import { createProgress, type Progress } from './terminal/progress.ts'

/** One line for each run that is done, and a bar for the one in progress. */
export class StudyProgress {
  readonly #console: Console
  #bar: Progress | undefined
  #label = ''

  constructor(console: Console) {
    this.#console = console
  }

  take(event: CompareEvent): void {
    const console = this.#console
    switch (event.type) {
      case 'plan': {
        const { members, length } = event
        const each = length ? `, ${plural(length.maxSteps, 'step')} each` : ''
        console.note(`up to ${plural(members, 'run')}${each}`)
        console.event(event)
        break
      }
      case 'start':
        this.#label = `${event.done + 1}/${event.members} ${specText(event.spec)}`
        break
      case 'step': {
        const { totalSteps: total, step, loss, tokensPerSecond: rate } = event
        this.#bar ??= createProgress({ label: this.#label, total, quiet: console.quiet })
        this.#bar.update({ step, loss, rate })
        break
      }
      case 'member':
        this.finish()
        console.note(`${this.#label}: ${outcomeText(event.member)}${event.known ? ' (done before)' : ''}`)
        console.event(event)
    }
  }

  finish(): void {
    this.#bar?.finish()
    this.#bar = undefined
  }
}

function specText({ method, training, seed }: Spec): string {
  return `${method} lr ${training.lr} seed ${seed}`
}

function outcomeText({ outcome }: Member): string {
  if ('failed' in outcome) return outcome.failed
  const { metric, validation, steps } = outcome
  return `validation ${metric} ${metricText(validation?.[metric])} after ${plural(steps, 'step')}`
}
