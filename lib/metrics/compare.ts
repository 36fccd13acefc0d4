// Paired comparison of two systems on the same items: McNemar's test and the paired bootstrap.

import { check } from '../errors.ts'
import { checkOptions, type OptionsOf, SEED } from '../options.ts'
import { resampler } from '../random.ts'
import { nth, under } from '../tuple.ts'
import { occurringClasses } from './classification.ts'
import { type EntityMode, entityCountsBySentence } from './entities.ts'
import { checkPaired } from './scores.ts'
import { binomialTwoSided, chiSquareOneTail } from './tails.ts'

/** McNemar's test of two systems' right and wrong answers. */
export type McNemar = {
  /** Items only the first system gets right, and items only the second does. */
  onlyBefore: number
  onlyAfter: number
  /** Two-sided exact binomial p. */
  pExact: number
  /** Chi-square with continuity correction, one degree of freedom, and its p. */
  chiSquare: number
  pChiSquare: number
}

/** Difference after − before with its percentile interval. */
export type BootstrapInterval = {
  metric: string
  before: number
  after: number
  difference: number
  low: number
  high: number
  /** Coverage of [low, high], e.g. 0.95. */
  confidence: number
  resamples: number
  seed: number
}

/** Options of the bootstrap: defaults 2000 resamples, 0.95, {@link SEED}. */
export type BootstrapOptions = { resamples?: number; confidence?: number; seed?: number }

/** McNemar's test from the two discordant counts. Without discordant items both p are 1. */
export function mcnemar(onlyBefore: number, onlyAfter: number): McNemar {
  const n = onlyBefore + onlyAfter
  const chiSquare = n === 0 ? 0 : (Math.abs(onlyBefore - onlyAfter) - 1) ** 2 / n
  return {
    onlyBefore,
    onlyAfter,
    pExact: binomialTwoSided(Math.min(onlyBefore, onlyAfter), n),
    chiSquare,
    pChiSquare: n === 0 ? 1 : chiSquareOneTail(chiSquare),
  }
}

const BOOTSTRAP_OPTIONS: OptionsOf<BootstrapOptions> = { resamples: true, confidence: true, seed: true }

/** McNemar's test of two systems' predictions of the same gold labels. */
export function mcnemarOfPredictions(
  gold: ArrayLike<number>,
  before: ArrayLike<number>,
  after: ArrayLike<number>,
): McNemar {
  checkPaired('mcnemar', gold, before)
  checkPaired('mcnemar', gold, after)
  let onlyBefore = 0
  let onlyAfter = 0
  for (let i = 0; i < gold.length; i++) {
    const beforeRight = before[i] === gold[i]
    if (beforeRight === (after[i] === gold[i])) continue
    if (beforeRight) onlyBefore++
    else onlyAfter++
  }
  return mcnemar(onlyBefore, onlyAfter)
}

/**
 * Percentile interval of `score(after) − score(before)` under resampling of items with replacement.
 *
 * @param metric name of the score
 * @param items number of paired items
 * @param score gets item indices (with repeats) and gives both systems' scores on them
 */
export function pairedBootstrap(
  metric: string,
  items: number,
  score: (sample: Uint32Array) => { before: number; after: number },
  options: BootstrapOptions = {},
): BootstrapInterval {
  checkOptions('pairedBootstrap', options, BOOTSTRAP_OPTIONS)
  const { resamples = 2000, confidence = 0.95, seed = SEED } = options
  check(resamples >= 1, 'ERR_OPTION', () => `resamples: ${resamples}; at least 1 is needed`)
  check(confidence > 0 && confidence < 1, 'ERR_OPTION', () => `confidence: ${confidence} is not between 0 and 1`)
  const sample = Uint32Array.from({ length: items }, (_, i) => i)
  const { before, after } = score(sample)
  const draw = resampler(seed)
  const differences = new Float64Array(resamples)
  for (let r = 0; r < resamples; r++) {
    for (let i = 0; i < items; i++) sample[i] = draw(items)
    const pair = score(sample)
    differences[r] = pair.after - pair.before
  }
  differences.sort()
  return {
    metric,
    before,
    after,
    difference: after - before,
    low: quantile(differences, (1 - confidence) / 2),
    high: quantile(differences, (1 + confidence) / 2),
    confidence,
    resamples,
    seed,
  }
}

/** Quantile of sorted values, linear between neighbours. */
function quantile(sorted: Float64Array, q: number): number {
  const position = q * (sorted.length - 1)
  const below = Math.floor(position)
  const low = nth(sorted, below)
  const high = nth(sorted, Math.min(below + 1, sorted.length - 1))
  return low + (high - low) * (position - below)
}

/** Bootstrap of the difference in accuracy. */
export function bootstrapAccuracy(
  gold: ArrayLike<number>,
  before: ArrayLike<number>,
  after: ArrayLike<number>,
  options?: BootstrapOptions,
): BootstrapInterval {
  checkOptions('bootstrapAccuracy', options, BOOTSTRAP_OPTIONS)
  checkPaired('bootstrapAccuracy', gold, before)
  checkPaired('bootstrapAccuracy', gold, after)
  const right = (predicted: ArrayLike<number>) => Uint8Array.from(predicted, (label, i) => (label === gold[i] ? 1 : 0))
  const beforeRight = right(before)
  const afterRight = right(after)
  const score = (sample: Uint32Array) => {
    let b = 0
    let a = 0
    for (const i of sample) {
      b += beforeRight[i]!
      a += afterRight[i]!
    }
    return { before: b / sample.length, after: a / sample.length }
  }
  return pairedBootstrap('accuracy', gold.length, score, options)
}

/**
 * Bootstrap of the difference in macro F1. Each system's mean is over the classes that occur in the sample's gold
 * labels or in that system's predictions, as scikit-learn takes it.
 */
export function bootstrapMacroF1(
  gold: ArrayLike<number>,
  before: ArrayLike<number>,
  after: ArrayLike<number>,
  options?: BootstrapOptions,
): BootstrapInterval {
  checkOptions('bootstrapMacroF1', options, BOOTSTRAP_OPTIONS)
  checkPaired('bootstrapMacroF1', gold, before)
  checkPaired('bootstrapMacroF1', gold, after)
  const ids = new Map(
    [...new Set([...occurringClasses(gold, before), ...occurringClasses(gold, after)])].map((c, i) => [c, i]),
  )
  const dense = (labels: ArrayLike<number>) => Uint32Array.from(labels, label => under(ids, label))
  const [g, b, a] = [dense(gold), dense(before), dense(after)]
  const goldCount = new Uint32Array(ids.size)
  const predictedCount = new Uint32Array(ids.size)
  const hits = new Uint32Array(ids.size)
  const macroF1 = (predicted: Uint32Array, sample: Uint32Array) => {
    goldCount.fill(0)
    predictedCount.fill(0)
    hits.fill(0)
    for (const i of sample) {
      goldCount[g[i]!]!++
      predictedCount[predicted[i]!]!++
      if (g[i] === predicted[i]) hits[g[i]!]!++
    }
    let sum = 0
    let present = 0
    for (let c = 0; c < ids.size; c++) {
      const size = nth(goldCount, c) + nth(predictedCount, c)
      if (size === 0) continue
      sum += (2 * nth(hits, c)) / size
      present++
    }
    return sum / present
  }
  const score = (sample: Uint32Array) => ({ before: macroF1(b, sample), after: macroF1(a, sample) })
  return pairedBootstrap('macro F1', gold.length, score, options)
}

/** Bootstrap of the difference in micro entity F1, resampling whole sentences. */
export function bootstrapEntityF1(
  gold: readonly (readonly string[])[],
  before: readonly (readonly string[])[],
  after: readonly (readonly string[])[],
  options: BootstrapOptions & { mode?: EntityMode } = {},
): BootstrapInterval {
  checkOptions('bootstrapEntityF1', options, { ...BOOTSTRAP_OPTIONS, mode: true })
  const { mode, ...others } = options
  const totals = (predicted: readonly (readonly string[])[]) =>
    entityCountsBySentence(gold, predicted, mode).map(counts => {
      let hits = 0
      let size = 0
      for (const c of counts.values()) {
        hits += c.truePositive
        size += c.gold + c.predicted
      }
      return { hits, size }
    })
  const beforeTotals = totals(before)
  const afterTotals = totals(after)
  const f1 = (sentences: { hits: number; size: number }[], sample: Uint32Array) => {
    let hits = 0
    let size = 0
    for (const i of sample) {
      hits += sentences[i]!.hits
      size += sentences[i]!.size
    }
    return size === 0 ? 0 : (2 * hits) / size
  }
  const score = (sample: Uint32Array) => ({ before: f1(beforeTotals, sample), after: f1(afterTotals, sample) })
  return pairedBootstrap('entity F1', gold.length, score, others)
}
