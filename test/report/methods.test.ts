// The page and the Markdown of a comparison.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import {
  type MethodRow,
  type MethodsData,
  methodsMarkdown,
  methodsTable,
  renderMethods,
} from '../../lib/report/methods.ts'

const row = (method: string, score: number, more: Partial<MethodRow> = {}): MethodRow => ({
  method,
  title: method,
  lr: 1e-3,
  grid: [
    { lr: 1e-3, value: score },
    { lr: 1e-2, value: undefined },
  ],
  score: { mean: score, sd: 0.01, count: 3 },
  trainable: 1e4,
  total: 1e6,
  seconds: { mean: 10, sd: 1, count: 3 },
  cpuSeconds: { mean: 9, sd: 1, count: 3 },
  peakBytes: 2 ** 20,
  adapterBytes: 4e4,
  latency: { unmerged: 2, merged: undefined },
  forgetting: undefined,
  gap: undefined,
  ...more,
})

const data = (text: string, rows: readonly MethodRow[]): MethodsData => ({
  title: text,
  task: text,
  date: '2026-01-02T03:04:05.678Z',
  metric: { title: 'accuracy', unit: 'share', better: 'higher' },
  split: 'test',
  examples: 100,
  seeds: [1, 2, 3],
  rows,
  memory: text,
  settings: { [text]: text },
  environment: { threads: 1 },
})

const full = row('full', 0.8, { trainable: 1e6, peakBytes: 4 * 2 ** 20 })
const rows = [row('lora', 0.81, { difference: { mean: 0.01, low: -0.01, high: 0.03, confidence: 0.95 } }), full]

test('hostile texts stay texts', () => {
  const hostile = `</script><img src=x onerror="alert('2')">|&`
  const page = renderMethods(data(hostile, [row(hostile, 0.5), full]))
  assert.not.match(page, /<img/)
  assert.is(page.match(/<script>/g)!.length, 1)
  const [, ...cells] = methodsMarkdown(data('x', [row('a|b', 0.5), full]))
    .split('\n')
    .filter(line => line.startsWith('|'))
  for (const line of cells) assert.is(line.replaceAll('\\|', '').split('|').length, cells[0]!.split('|').length, line)
})

test('the verdict names the best method, and what it takes beside full fine-tuning', () => {
  const page = renderMethods(data('x', rows)).replaceAll('\u2009', ' ').replaceAll('\n', ' ')
  assert.match(page, /<b>lora<\/b> reaches <b>81.0 % ± 1.0 %<\/b>, full fine-tuning 80.0 % ± 1.0 %/)
  assert.match(page, /<b>1.00 %<\/b> of the trained parameters and 25 % of the memory/)
  assert.match(page, /within what chance explains/)
  const difference = { mean: 0.02, low: 0.01, high: 0.03, confidence: 0.95 }
  assert.not.match(renderMethods(data('x', [row('lora', 0.82, { difference }), full])), /within what chance explains/)
  assert.match(page, />lora<\/text>/)
})

test('a rate at the end of its grid is told', () => {
  const inside = [1e-4, 1e-3, 1e-2].map(lr => ({ lr, value: 0.5 }))
  const told = methodsMarkdown(data('x', [row('lora', 0.8), row('svd', 0.7, { grid: inside })]))
  assert.match(told, /The best rate is the last of the grid on its side for lora: a better one may lie beyond/)
})

test('columns of which nothing is known are left out, a method that diverged stays', () => {
  const failed = row('svd', 0, { lr: undefined, score: undefined, seconds: undefined, cpuSeconds: undefined })
  const { heads, rows: cells } = methodsTable(data('x', [...rows, failed]))
  assert.equal(heads.slice(0, 3), ['method', 'accuracy', 'difference to full'])
  assert.not.ok(heads.includes('perplexity of the base') || heads.includes('merged'))
  assert.equal(cells[2]!.slice(0, 4), ['svd', '–', '–', 'diverged'])
  assert.match(cells[0]![2]!, /^\+1.0 \(−1.0 to \+3.0\)$/)
  assert.match(renderMethods(data('x', [failed])), /0.01: diverged/)
})

test.run()
