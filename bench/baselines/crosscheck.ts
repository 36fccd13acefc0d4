// Prints for crosscheck.py's runs the same lines: node --import tsx bench/baselines/crosscheck.ts [COUNT].

import { atOnce } from '../../lib/io/turn.ts'
import { fitLogistic, predictLogistic } from '../../lib/metrics/logistic.ts'
import { tfidf } from '../../lib/metrics/tfidf.ts'
import { readSample, TOPICS } from '../../scripts/pretrain/sample.ts'
import { labelIds } from './run.ts'

const count = process.argv[2] === undefined ? undefined : Number(process.argv[2])
const train = readSample('train').slice(0, count)
const test = readSample('test')
const texts = train.map(row => row.text)
const transform = atOnce(tfidf(texts))
const x = atOnce(transform(texts))
const xTest = atOnce(transform(test.map(row => row.text)))
for (const c of [10, 100]) {
  const model = atOnce(fitLogistic(x, labelIds(train), TOPICS.length, c, { tolerance: 1e-6, iterations: 5000 }))
  const predicted = atOnce(predictLogistic(xTest, model)).map(id => TOPICS[id]!)
  const correct = predicted.filter((label, i) => label === test[i]!.label).length
  console.log(JSON.stringify({ rows: train.length, features: x.width, c, correct, predicted }))
}
