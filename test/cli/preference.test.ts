// Preferences from the command line: found by the columns, told, learned, resumed, and the model still speaks.
// timeout: 300

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { chatModelFolder } from '../support/chatModel.ts'
import { cliHere, records, workFolder, writeJsonl } from './support.ts'

const cwd = workFolder()
const model = await chatModelFolder()
const run = (...args: string[]) => cliHere(args, cwd)
const CITIES = ['Paris', 'Rome', 'Madrid', 'Oslo']
const user = (i: number) => ({ role: 'user', content: `What is capital ${i}?` })
const says = (content: string) => ({ role: 'assistant', content })
const rows = (make: (i: number, good: string, bad: string) => object) =>
  Array.from({ length: 40 }, (_, i) => make(i, CITIES[i % 2]!, CITIES[2 + (i % 2)]!))

const SPELLINGS: Record<string, object[]> = {
  texts: rows((i, chosen, rejected) => ({ prompt: user(i).content, chosen, rejected })),
  messages: rows((i, good, bad) => ({ prompt: [user(i)], chosen: [says(good)], rejected: [says(bad)] })),
  whole: rows((i, good, bad) => ({ chosen: [user(i), says(good)], rejected: [user(i), says(bad)] })),
  // As UltraFeedback has them: the prompt once more as a text.
  both: rows((i, good, bad) => ({
    prompt: user(i).content,
    chosen: [user(i), says(good)],
    rejected: [user(i), says(bad)],
  })),
  question: rows((i, chosen, rejected) => ({ question: user(i).content, chosen, rejected })),
}

interface Planned {
  readonly tokensPerEpoch: number
  readonly truncated: number
}

test('texts, messages and whole conversations make the same examples', async () => {
  const plans: number[] = []
  for (const [name, data] of Object.entries(SPELLINGS)) {
    const file = writeJsonl(join(cwd, `${name}.jsonl`), data)
    const { code, stdout, stderr } = await run('train', file, '--model', model, '--dry-run', '--json')
    assert.is(code, 0, stderr)
    assert.match(stderr, /task preference: "chosen" is to be preferred to "rejected"/)
    plans.push((records(stdout).at(-1) as unknown as Planned).tokensPerEpoch)
  }
  assert.ok(
    plans.every(tokens => tokens === plans[0] && tokens > 0),
    plans.join(),
  )
})

interface Summary {
  readonly before: Record<string, number>
  readonly after: Record<string, number>
  readonly comparison: { metrics: { metric: string; interval?: { low: number; high: number } }[]; mcnemar?: object }
}

const OPTIONS = ['--batch-size', '4', '--lr', '0.005', '--target-modules', 'all-linear', '--json']

for (const loss of ['dpo', 'ipo', 'hinge'])
  test(`${loss}: the chosen answers become likelier than the rejected ones`, async () => {
    const args = ['train', 'texts.jsonl', '--model', model, '--out', loss, '--loss', loss, '--epochs', '3', ...OPTIONS]
    const { code, stdout, stderr } = await run(...args)
    assert.is(code, 0, stderr)
    assert.match(stderr, /reference: a copy of the model as it stands before the first step/)
    const { before, after, comparison } = records(stdout).at(-1) as unknown as Summary
    assert.equal([before.rewardAccuracy, before.margin], [0.5, 0], 'the reference itself')
    assert.is(after.rewardAccuracy, 1)
    assert.ok(after.margin! > 0.1 && after.loss! < before.loss!, JSON.stringify(after))
    const { interval } = comparison.metrics.find(({ metric }) => metric === 'margin')!
    assert.ok(interval!.low > 0 && interval!.low <= after.margin! && after.margin! <= interval!.high)
    assert.is(comparison.mcnemar, undefined, 'of the reference itself right and wrong say nothing')
    const { task_type: type } = JSON.parse(readFileSync(join(cwd, loss, 'adapter/adapter_config.json'), 'utf8'))
    assert.is(type, 'CAUSAL_LM')
  })

test('what was tuned is measured against its base, and speaks', async () => {
  const measured = await run('evaluate', 'dpo', 'texts.jsonl', '--baseline', '--json')
  assert.is(measured.code, 0, measured.stderr)
  const { metrics, before } = records(measured.stdout).at(-1) as unknown as {
    metrics: Record<string, number>
    before: Record<string, number>
  }
  assert.is(before.margin, 0)
  assert.ok(metrics.rewardAccuracy! > 0.95, JSON.stringify(metrics))
  const said = await run('generate', 'dpo', 'What is capital 0?', '--max-new-tokens', '4', '--json')
  assert.is(said.code, 0, said.stderr)
})

test('labels of true and false ask for kto', async () => {
  const lone = rows((i, good, bad) => ({ prompt: user(i).content, completion: i % 3 ? good : bad, label: i % 3 > 0 }))
  writeJsonl(join(cwd, 'lone.jsonl'), lone)
  const { code, stdout, stderr } = await run(
    'train',
    'lone.jsonl',
    '--model',
    model,
    '--out',
    'kto',
    '--epochs',
    '4',
    ...OPTIONS,
  )
  assert.is(code, 0, stderr)
  assert.match(stderr, /task preference: "label" says whether "completion" is wanted/)
  const { before, after } = records(stdout).at(-1) as unknown as Summary
  assert.is(before.loss, 0.5)
  assert.ok(after.loss! < 0.45 && after.margin! > 0.1, JSON.stringify(after))
})

test('a reward model learns from the same pairs, scores texts, and is a classifier of one label to PEFT', async () => {
  const args = ['train', 'messages.jsonl', '--task', 'reward', '--model', model, '--out', 'reward', '--epochs', '6']
  const { code, stdout, stderr } = await run(...args, ...OPTIONS)
  assert.is(code, 0, stderr)
  const { after } = records(stdout).at(-1) as unknown as Summary
  assert.is(after.rewardAccuracy, 1, JSON.stringify(after))
  const config = JSON.parse(readFileSync(join(cwd, 'reward/adapter/adapter_config.json'), 'utf8'))
  assert.is(config.task_type, 'SEQ_CLS')
  assert.ok(config.modules_to_save.includes('score'))
  writeJsonl(
    join(cwd, 'answers.jsonl'),
    ['Paris', 'Oslo'].map(answer => ({ prompt: [user(2)], completion: [says(answer)] })),
  )
  const asked = await run('predict', 'reward', '--input', 'answers.jsonl', '--json')
  assert.is(asked.code, 0, asked.stderr)
  const [good, bad] = records(asked.stdout) as unknown as { reward: number }[]
  assert.ok(good!.reward > bad!.reward, asked.stdout)
})

test('pairs that are no pairs are left out, losses that do not fit are errors', async () => {
  writeJsonl(join(cwd, 'ties.jsonl'), [...SPELLINGS.texts!, { prompt: 'a', chosen: 'b', rejected: 'b' }])
  const ties = await run('train', 'ties.jsonl', '--model', model, '--dry-run')
  assert.match(ties.stderr, /1 of 41 pairs have the same answer twice and are left out/)
  const wrong = await run('train', 'texts.jsonl', '--model', model, '--loss', 'kto', '--dry-run')
  assert.is(wrong.code, 1)
  assert.match(wrong.stderr, /loss: kto does not take pairs of answers, which the data have; use dpo, ipo, hinge/)
})

test.run()
