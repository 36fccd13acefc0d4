// Majority class and TF-IDF + logistic regression on the bundled sample: bench/results/baselines.json. Nothing is
// random but the choice of rows, so all rows are run once.
import { fileURLToPath } from 'node:url'
import { writeFileAtomic } from '../../lib/io/atomic.ts'
import { atOnce } from '../../lib/io/turn.ts'
import { accuracy, precisionRecallF1 } from '../../lib/metrics/classification.ts'
import { fitLogistic, predictLogistic } from '../../lib/metrics/logistic.ts'
import { tfidf } from '../../lib/metrics/tfidf.ts'
import { type Row, readSample, TOPICS } from '../../scripts/pretrain/sample.ts'
import { SEEDS, SIZES, subsample } from './subsample.ts'

/** Inverse strengths of the L2 penalty that the validation rows choose from, weakest last. */
export const STRENGTHS = [3, 10, 30, 100, 300] as const

/** Scores of one method on the test rows after training on `rows` rows chosen by `seed`. */
export interface Result {
  readonly method: string
  readonly rows: number
  readonly seed: number
  readonly c?: number
  readonly validationAccuracy: number
  readonly accuracy: number
  readonly macroF1: number
}

const OUTPUT = fileURLToPath(new URL('../results/baselines.json', import.meta.url))

/** Label ids in the order of TOPICS. */
export function labelIds(rows: readonly Row[]): number[] {
  return rows.map(row => (TOPICS as readonly string[]).indexOf(row.label))
}

function scores(gold: readonly number[], predicted: readonly number[]): Pick<Result, 'accuracy' | 'macroF1'> {
  const macroF1 = precisionRecallF1(gold, predicted, { average: 'macro', classes: TOPICS.map((_, i) => i) }).f1
  return { accuracy: accuracy(gold, predicted), macroF1 }
}

function majority(
  train: readonly Row[],
  validation: readonly Row[],
  test: readonly Row[],
): Omit<Result, 'rows' | 'seed'> {
  const counts = TOPICS.map(topic => train.filter(row => row.label === topic).length)
  const most = counts.indexOf(Math.max(...counts))
  const predict = (rows: readonly Row[]) => rows.map(() => most)
  const validationAccuracy = accuracy(labelIds(validation), predict(validation))
  return { method: 'majority', validationAccuracy, ...scores(labelIds(test), predict(test)) }
}

const fitted = (...given: Parameters<typeof fitLogistic>) => atOnce(fitLogistic(...given))

/** Fits every strength, warm-started from the one before, and keeps the first that is best on the validation rows. */
function tfidfLogistic(
  train: readonly Row[],
  validation: readonly Row[],
  test: readonly Row[],
): Omit<Result, 'rows' | 'seed'> {
  const texts = (rows: readonly Row[]) => rows.map(row => row.text)
  const transform = atOnce(tfidf(texts(train)))
  const [x, xValidation, xTest] = [train, validation, test].map(rows => atOnce(transform(texts(rows))))
  let start: ReturnType<typeof fitted> | undefined
  let best: { c: number; validationAccuracy: number; model: ReturnType<typeof fitted> } | undefined
  for (const c of STRENGTHS) {
    const model = fitted(x!, labelIds(train), TOPICS.length, c, { tolerance: 1e-4, ...(start && { start }) })
    const validationAccuracy = accuracy(labelIds(validation), atOnce(predictLogistic(xValidation!, model)))
    if (!best || validationAccuracy > best.validationAccuracy) best = { c, validationAccuracy, model }
    start = model
  }
  const { c, validationAccuracy, model } = best!
  return {
    method: 'tfidf+lr',
    c,
    validationAccuracy,
    ...scores(labelIds(test), atOnce(predictLogistic(xTest!, model))),
  }
}

function main(): Promise<void> {
  const [train, validation, test] = [readSample('train'), readSample('validation'), readSample('test')]
  const results: Result[] = []
  for (const rows of [...SIZES, train.length])
    for (const seed of rows < train.length ? SEEDS : SEEDS.slice(0, 1)) {
      const chosen = subsample(train, rows, seed)
      for (const method of [majority, tfidfLogistic]) {
        const result = { rows, seed, ...method(chosen, validation, test) }
        results.push(result)
        console.log(JSON.stringify(result))
      }
    }
  const means = [...new Set(results.map(({ method, rows }) => `${method} ${rows}`))].map(key => {
    const own = results.filter(({ method, rows }) => `${method} ${rows}` === key)
    const mean = (of: 'accuracy' | 'macroF1') => own.reduce((sum, result) => sum + result[of], 0) / own.length
    return {
      method: own[0]!.method,
      rows: own[0]!.rows,
      seeds: own.length,
      accuracy: mean('accuracy'),
      macroF1: mean('macroF1'),
    }
  })
  return writeFileAtomic(
    OUTPUT,
    `${JSON.stringify({ test: test.length, strengths: STRENGTHS, means, results }, null, 2)}\n`,
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
