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
  #alone = true

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
        this.#run.start(`${placeOf(event)} ${specsText(event.specs)}`)
        this.#alone = event.specs.length === 1
        break
      case 'step':
        this.#run.step(event)
        break
      case 'member':
        this.#run.end(
          `${outcomeText(event.member)}${event.known ? ' (done before)' : ''}`,
          this.#alone ? undefined : specsText([event.member.spec]),
        )
        console.event(event)
    }
  }

  finish(): void {
    this.#run.finish()
  }
}

/** Which of all runs these are: 4/12, or 4–6/12 of some at once. */
function placeOf({ specs, done, members }: Extract<CompareEvent, { type: 'start' }>): string {
  const [first, last] = [done + 1, done + specs.length]
  return `${first === last ? first : `${first}–${last}`}/${members}`
}

/** Specs of one method, with all their rates and seeds. */
function specsText(specs: readonly Spec[]): string {
  const of = (text: (spec: Spec) => unknown) => [...new Set(specs.map(spec => String(text(spec))))].join(', ')
  return `${of(({ method }) => method)} lr ${of(({ training }) => training.lr)} seed ${of(({ seed }) => seed)}`
}

function outcomeText({ outcome }: Member): string {
  if ('failed' in outcome) return outcome.failed
  const { metric, validation, steps } = outcome
  return `validation ${metric} ${metricText(validation?.[metric])} after ${plural(steps, 'step')}`
}
