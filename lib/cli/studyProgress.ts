// What a study shows while its runs go by.

import type { CompareEvent, Member } from '../study/compare.ts'
import type { Spec } from '../study/member.ts'
import type { Console } from './terminal/console.ts'
import { metricText, plural } from './terminal/format.ts'
import { RunBar } from './terminal/runBar.ts'

/** One line for each run that is done, and a bar for the one in progress. */
export class StudyProgress {
  readonly #console: Console
  readonly #run: RunBar

  constructor(console: Console) {
    this.#console = console
    this.#run = new RunBar(console)
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
        this.#run.start(`${event.done + 1}/${event.members} ${specText(event.spec)}`)
        break
      case 'step':
        this.#run.step(event)
        break
      case 'member':
        this.#run.end(`${outcomeText(event.member)}${event.known ? ' (done before)' : ''}`)
        console.event(event)
    }
  }

  finish(): void {
    this.#run.finish()
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
