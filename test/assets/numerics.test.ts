import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { subsample } from '../../bench/baselines/subsample.ts'
import { atOnce } from '../../lib/io/turn.ts'
import { minimise } from '../../lib/metrics/lbfgs.ts'
import { fitLogistic, predictLogistic } from '../../lib/metrics/logistic.ts'
import { tfidf } from '../../lib/metrics/tfidf.ts'
import { random } from '../../scripts/pretrain/random.ts'
import { readSample, TOPICS } from '../../scripts/pretrain/sample.ts'
import { pieces } from '../../scripts/pretrain/text.ts'

const near = (a: number, b: number, tolerance: number) => assert.ok(Math.abs(a - b) <= tolerance, `${a} is not ${b}`)

test('L-BFGS finds the minimum of an ill-conditioned quadratic', () => {
  const scales = Array.from({ length: 20 }, (_, i) => 10 ** (i / 5))
  const x = new Float64Array(20)
  const work = minimise(
    x,
    function* (at, gradient) {
      yield
      let value = 0
      for (const [i, scale] of scales.entries()) {
        gradient[i] = scale * (at[i]! - i)
        value += 0.5 * scale * (at[i]! - i) ** 2
      }
      return value
    },
    { tolerance: 1e-8, memory: 20 },
  )
  const result = atOnce(work)
  assert.ok(result.iterations < 400)
  for (const [i, component] of x.entries()) near(component, i, 1e-7)
})

test('TF-IDF by hand: terms in one of two texts weigh 1 + ln(3/2), in both 1', () => {
  const once = function* (...texts: string[]) {
    yield* texts
  }
  const transform = atOnce(tfidf(once('red fish', 'blue fish fish')))
  const { starts, columns, values, width } = atOnce(transform(once('red fish fish', 'unknown')))
  assert.is(width, 6)
  assert.equal([...starts], [0, 4, 4])
  assert.equal([...columns], [0, 1, 2, 5])
  const rare = 1 + Math.log(3 / 2)
  const raw = [rare, 1 + Math.log(2), rare, rare]
  const length = Math.hypot(...raw)
  for (const [i, value] of values.entries()) near(value, raw[i]! / length, 1e-12)
})

test('logistic regression: zero gradient at the solution, and it separates what can be separated', () => {
  const next = random(3)
  const texts = Array.from(
    { length: 60 },
    (_, i) => `${['alpha', 'beta', 'gamma'][i % 3]} ${next() < 0.5 ? 'noise' : 'other'}`,
  )
  const labels = texts.map((_, i) => i % 3)
  const x = atOnce(atOnce(tfidf(texts))(texts))
  const model = atOnce(fitLogistic(x, labels, 3, 10, { tolerance: 1e-9 }))
  assert.equal(atOnce(predictLogistic(x, model)), labels)
  const again = atOnce(fitLogistic(x, labels, 3, 10, { tolerance: 1e-9, start: model }))
  assert.is(again.iterations, 0)
})

test('a subsample keeps the shares of the topics, is a function of the seed, and differs between seeds', () => {
  const train = readSample('train')
  const rows = subsample(train, 500, 1)
  assert.is(rows.length, 500)
  assert.is(new Set(rows).size, 500)
  assert.equal(rows, subsample(train, 500, 1))
  assert.not.equal(rows, subsample(train, 500, 2))
  for (const topic of TOPICS) {
    const share = (of: readonly { label: string }[]) => of.filter(row => row.label === topic).length / of.length
    near(share(rows), share(train), 0.002)
  }
})

test('prose is cut at sentence ends, never over the limit, and nothing is lost', () => {
  const text = 'One two three. Four five six seven. "Eight nine." Ten eleven twelve thirteen fourteen fifteen.'
  const cut = pieces(text, 5)
  assert.is(cut.join(' '), text)
  assert.ok(cut.every(piece => piece.split(' ').length <= 5))
  assert.is(cut[0], 'One two three.')
})

test.run()
