// What to try next. Each draw is keyed by the search's seed and the trial's ordinal, and sees trials in their order:
// the same search gives the same trials, killed and resumed or not.

import { erfc } from '../metrics/tails.ts'
import { uniformStream } from '../nn/init.ts'
import { lastOf, must, nth, under } from '../tuple.ts'
import type { Choice, Distribution } from './journal.ts'
import { gridOf, type Space, shareOf, valueAt } from './space.ts'

export const SAMPLERS = ['tpe', 'random', 'grid'] as const
/** How the next trial is drawn: by what was learned, at random, or every combination. */
export type Sampler = (typeof SAMPLERS)[number]

/** A trial that is over, or still runs. */
export interface Tried {
  readonly params: Readonly<Record<string, Choice>>
  /** The more the better; a run that diverged is -Infinity, one still under way undefined. */
  readonly worth: number | undefined
  /** Ended on the way: its worth was had at fewer steps. */
  readonly isPruned: boolean
}

/** The parameters of trial `ordinal`; undefined where a grid is at its end. */
export function suggest(
  sampler: Sampler,
  space: Space,
  tried: readonly Tried[],
  seed: number,
  ordinal: number,
): Record<string, Choice> | undefined {
  if (sampler === 'grid') return gridOf(space)[ordinal]
  const next = uniformStream(seed, `trial ${ordinal}`)
  const told = tried.filter(({ worth }) => worth !== undefined)
  const draw =
    sampler === 'random' || told.length < STARTUP || ordinal % EXPLORED === 0
      ? () => undefined
      : estimators(space, told)
  return Object.fromEntries(
    Object.entries(space).map(([name, distribution]) => {
      const drawn = draw(name)
      return [name, drawn ? drawn(next) : valueAt(distribution, next())]
    }),
  )
}

/** Whether the next draw is the same whatever trials under way come to, where `drawn` have been drawn. */
export function isFree(sampler: Sampler, drawn: number): boolean {
  return sampler !== 'tpe' || drawn < STARTUP
}

/** Trials drawn at random before the first estimate. */
const STARTUP = 8
const CANDIDATES = 24
/** Of so many one is drawn at random still: estimates that look at one parameter at a time get stuck. */
const EXPLORED = 5

/**
 * Tree-structured Parzen estimators, parameter by parameter (Bergstra et al. 2011): of candidates from the density
 * of the better trials, the one where it is highest over the density of the others.
 */
function estimators(space: Space, tried: readonly Tried[]) {
  const sorted = tried.toSorted(
    (a, b) => Number(a.isPruned) - Number(b.isPruned) || must(b.worth, 'worth') - must(a.worth, 'worth'),
  )
  const better = Math.min(25, Math.ceil(0.1 * sorted.length))
  const parts = [sorted.slice(0, better), sorted.slice(better)]
  return (name: string) => {
    const distribution = under(space, name)
    const [good, rest] = parts.map(part =>
      density(
        distribution,
        part.map(({ params }) => under(params, name)),
      ),
    )
    return (next: () => number): Choice => {
      let best: { value: Choice; gain: number } | undefined
      for (let i = 0; i < CANDIDATES; i++) {
        const value = must(good, 'good').draw(next)
        const gain = Math.log(must(good, 'good').at(value)) - Math.log(must(rest, 'rest').at(value))
        if (!best || gain > best.gain) best = { value, gain }
      }
      return must(best, 'best').value
    }
  }
}

interface Density {
  draw(next: () => number): Choice
  at(value: Choice): number
}

/** What trials say of a parameter, with one share of not knowing. */
function density(distribution: Distribution, values: readonly Choice[]): Density {
  return distribution.name === 'CategoricalDistribution'
    ? categories(distribution.attributes.choices, values)
    : mixture(distribution, values)
}

function categories(choices: readonly Choice[], values: readonly Choice[]): Density {
  const weights = choices.map(choice => 1 + values.filter(value => value === choice).length)
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  return {
    draw(next) {
      let left = next() * total
      for (const [i, weight] of weights.entries()) {
        left -= weight
        if (left < 0) return nth(choices, i)
      }
      return lastOf(choices)
    },
    at: value => nth(weights, choices.indexOf(value)) / total,
  }
}

/** Normal bells around the trials' places in [0, 1], as wide as the way to their farther neighbour, and a flat part. */
function mixture(distribution: Distribution, values: readonly Choice[]): Density {
  const centers = values.map(value => shareOf(distribution, value)).toSorted((a, b) => a - b)
  const least = 1 / Math.min(100, 1 + centers.length)
  const widths = centers.map((center, i) => {
    const ways = [centers[i - 1], centers[i + 1]].flatMap(other =>
      other === undefined ? [] : Math.abs(other - center),
    )
    return ways.length === 0 ? 1 : Math.max(least, ...ways)
  })
  const within = centers.map((center, i) => below((1 - center) / nth(widths, i)) - below(-center / nth(widths, i)))
  const bell = (x: number, i: number) => {
    const z = (x - nth(centers, i)) / nth(widths, i)
    return Math.exp((-z * z) / 2) / (nth(widths, i) * Math.sqrt(2 * Math.PI) * nth(within, i))
  }
  return {
    draw(next) {
      const i = Math.floor(next() * (centers.length + 1))
      return valueAt(distribution, i === centers.length ? next() : inBell(nth(centers, i), nth(widths, i), next))
    },
    at(value) {
      const x = shareOf(distribution, value)
      return (1 + centers.reduce((sum, _, i) => sum + bell(x, i), 0)) / (centers.length + 1)
    },
  }
}

/** A normal number in [0, 1]: drawn again while it lies outside, at most so often. */
function inBell(center: number, width: number, next: () => number): number {
  for (let i = 0; i < 100; i++) {
    const radius = Math.sqrt(-2 * Math.log(1 - next()))
    const x = center + width * radius * Math.cos(2 * Math.PI * next())
    if (x >= 0 && x <= 1) return x
  }
  return center
}

/** P(Z ≤ z) of a normal number. */
function below(z: number): number {
  return z < 0 ? erfc(-z / Math.SQRT2) / 2 : 1 - erfc(z / Math.SQRT2) / 2
}
