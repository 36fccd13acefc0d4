import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readFinished } from '../../lib/report/finished.ts'
import { differing, renderOverlay, sharedMetrics, unlike } from '../../lib/report/overlay.ts'
import { rejects } from '../data/support.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { problemsOf } from './axe.ts'

const folder = temporaryFolder()

/** A folder as train leaves it. */
function run(
  name: string,
  more: { readonly accuracy: number; readonly hash?: string; readonly labels: string },
): string {
  const dir = join(folder, name)
  mkdirSync(dir, { recursive: true })
  const metrics = {
    split: 'test',
    examples: 4,
    before: { accuracy: 0.25, loss: 1.5 },
    after: { accuracy: more.accuracy, loss: 1 },
    trainable: 10,
    total: 1000,
    steps: 3,
    seconds: 2,
    peakBytes: 1e6,
    adapterBytes: 2000,
    base: '/somewhere/base',
    method: 'lora',
    task: 'sequence-classification',
    splitHash: more.hash ?? 'a',
    settings: { lr: more.accuracy, batchSize: 16, out: name, data: '/somewhere/d.csv' },
  }
  writeFileSync(join(dir, 'metrics.json'), JSON.stringify(metrics))
  const scalars = [1, 2, 2].map((step, i) => ({
    event: 'scalars',
    step,
    'train/loss': 3 - i,
    'validation/accuracy': 0.5,
  }))
  const log = [{ event: 'start' }, ...scalars, { event: 'finish' }]
  writeFileSync(join(dir, 'log.jsonl'), log.map(line => `${JSON.stringify(line)}\n`).join(''))
  const lines = [...more.labels].map(label => `${JSON.stringify({ text: 't', label, gold: 'a' })}\n`)
  writeFileSync(join(dir, 'predictions.jsonl'), lines.join(''))
  return dir
}

const first = run('first', { accuracy: 0.5, labels: 'aabb' })
const second = run('second', { accuracy: 0.75, labels: 'aaab' })
const other = run('other <b>', { accuracy: 0.1, labels: 'abbb', hash: 'b' })

test('runs are read from their folders: scores, curves with a step once, answers', async () => {
  const found = await readFinished(first)
  assert.equal([found.name, found.base, found.examples, found.after.accuracy], ['first', 'base', 4, 0.5])
  assert.equal(found.curves.get('train/loss'), [
    [1, 3],
    [2, 1],
  ])
  assert.equal(found.right, [true, true, false, false])
  await rejects(() => readFinished(folder), 'ERR_OPTION', /has no metrics\.json; name folders of finished runs/)
  await rejects(() => readFinished(join(folder, 'no')), 'ERR_OPTION', /does not exist/)
})

test('a page of runs has scores with differences, the exact test, curves and the settings that differ', async () => {
  const runs = [await readFinished(first), await readFinished(second)]
  assert.equal(sharedMetrics(runs), ['accuracy', 'loss'])
  assert.equal(differing(runs), [['lr', ['0.5', '0.75']]])
  const page = renderOverlay(runs, '2026-01-02T03:04:05Z')
  for (const part of ['+25.0', '1 are right only in second', '0 only in first', 'p = 1.000', 'Training loss'])
    assert.ok(page.includes(part), part)
  assert.not.ok(page.includes('/somewhere'), 'no folder of this machine is told')
})

test('runs that were scored on other examples are told, and not tested against each other', async () => {
  const runs = [await readFinished(first), await readFinished(other)]
  assert.match(unlike(runs) ?? '', /other examples/)
  const page = renderOverlay(runs, '2026-01-02T03:04:05Z')
  assert.ok(page.includes('other examples') && page.includes('other &lt;b&gt;'))
  assert.not.ok(page.includes('McNemar'))
})

test('axe finds nothing on a page of runs', async () => {
  const runs = [await readFinished(first), await readFinished(second), await readFinished(other)]
  const problems = problemsOf(renderOverlay(runs, '2026-01-02T03:04:05Z'))
  if (!problems) return console.log('skipped: no browser')
  assert.equal(problems, [])
})

test.run()
