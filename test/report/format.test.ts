import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { smooth, thin, ticks } from '../../lib/report/chart.ts'
import * as format from '../../lib/report/format.ts'

const plain = (text: string) => text.replaceAll('\u2009', ' ')

test('numbers', () => {
  assert.equal(
    [0, 12, 1234567, 0.87, 3.14259, 21.734, 8123.4, 0.0312, 3e-4, -2.5e-5, 1e9 + 0.5].map(v => plain(format.number(v))),
    ['0', '12', '1 234 567', '0.870', '3.143', '21.73', '8123', '0.0312', '3·10⁻⁴', '−2.5·10⁻⁵', '1·10⁹'],
  )
  assert.equal([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].map(format.number), ['–', '∞', '−∞'])
})

test('shares, differences and p values', () => {
  assert.is(plain(format.percent(0.8731)), '87.3 %')
  assert.is(plain(format.percent(Number.NaN)), '–')
  assert.equal(
    [0.462, -0.012, 0.0001, 0].map(v => format.difference(v, 'share')),
    ['+46.2', '−1.2', '±0.0', '±0.0'],
  )
  assert.equal(
    [1.5, -2, 0].map(v => format.difference(v, 'number')),
    ['+1.500', '−2', '±0'],
  )
  assert.equal([0.0004, 0.0312, 1].map(format.pValue), ['p < 0.001', 'p = 0.031', 'p = 1.000'])
})

test('bytes, durations, short counts', () => {
  assert.equal(
    [512, 611_000, 412e6, 3.2e9].map(v => plain(format.bytes(v))),
    ['512 B', '597 KiB', '393 MiB', '2.98 GiB'],
  )
  assert.equal(
    [3.21, 48, 185, 7800].map(v => plain(format.duration(v))),
    ['3.2 s', '48 s', '3 min 05 s', '2 h 10 min'],
  )
  assert.equal(
    [999, 9999, 147_456, 4_385_920, 7e9].map(v => plain(format.short(v))),
    ['999', '9 999', '147 k', '4.39 M', '7 G'],
  )
  assert.is(format.clip('👍🏽abc', 3), '👍🏽a…')
})

test('ticks are round and inside', () => {
  assert.equal(ticks(0, 1, 5), [0, 0.2, 0.4, 0.6, 0.8, 1])
  assert.equal(ticks(0.58, 0.88, 4), [0.6, 0.7, 0.8])
  assert.equal(ticks(1, 4, 9, true), [1, 2, 3, 4])
  assert.equal(ticks(-1e-5, 3e-4, 3), [0, 1e-4, 2e-4, 3e-4])
  // Neighbours of a large number: counting from one to the other in steps that it swallows would never end.
  assert.equal(ticks(4.5, 4.5 + 2 ** -50, 4), [4.5])
  assert.equal(ticks(-1e17, -1e17 + 16, 4), [-1e17])
})

test('thinning keeps the extremes and the order; smoothing keeps straight lines', () => {
  const points = Array.from({ length: 10_000 }, (_, i) => [i, i === 4321 ? 99 : Math.sin(i)] as const)
  const kept = thin(points)
  assert.ok(kept.length <= 600)
  assert.ok(kept.some(point => point[1] === 99))
  for (const [i, point] of kept.entries()) assert.ok(i === 0 || point[0] > kept[i - 1]![0])
  const line = Array.from({ length: 100 }, (_, i) => [i, 3 - i / 50] as const)
  for (const [i, [, y]] of smooth(line, 11).entries()) assert.ok(Math.abs(y - line[i]![1]) < 1e-12)
})

test.run()
