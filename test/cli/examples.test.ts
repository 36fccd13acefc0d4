// The examples run and learn; every recipe is a plan that holds.
// timeout: 600

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { capitals, chatModelFolder, gpt2Folder } from '../support/chatModel.ts'
import { seq2seqFolder } from '../support/seq2seqModel.ts'
import { cli, records, reviews, runModule, workFolder, writeJsonl } from './support.ts'

const cwd = workFolder()
const recipes = join(packageRoot, 'examples', 'recipes')
const data = writeJsonl(join(cwd, 'reviews.jsonl'), reviews(60))

/** Prompts with completions that follow from them. */
function questions(count: number): object[] {
  return reviews(count).map(({ text, label }) => ({ prompt: `table: ${text} A: `, completion: `SELECT ${label}` }))
}

const shapes: Record<string, object[]> = {
  'conll2003-bert-ner.yaml': reviews(30).map(({ text }, i) => {
    const tokens = [...text.split(' '), i % 2 ? 'Paris' : 'Rome']
    return { tokens, tags: tokens.map(word => (/^[PR]/.test(word) ? 'B-LOC' : 'O')) }
  }),
  'multi-label.yaml': reviews(30).map(({ text }, i) => ({ text, labels: i % 3 ? ['a'] : ['a', 'b'] })),
  'regression.yaml': reviews(30).map(({ text }, i) => ({ text, score: (i % 5) + 0.5 })),
  'text-pairs.yaml': reviews(30).map(({ text, label }) => ({ premise: text, hypothesis: 'it was fine', label })),
  'flan-t5.yaml': reviews(30).map(({ text, label }) => ({ prompt: `good or bad? ${text}`, completion: label })),
  'chat-llama.yaml': capitals(30),
  'wikisql-smollm2.yaml': questions(30),
  'e2e-gpt2.yaml': questions(30),
  'preferences.yaml': reviews(30).map(({ text }, i) => ({ prompt: text, chosen: `yes ${i}`, rejected: 'no' })),
  'domain-adaptation.yaml': reviews(30).map(({ text }) => ({ text })),
}

/** Recipes for other models than the bundled encoder. */
const models: Record<string, string> = {
  'flan-t5.yaml': await seq2seqFolder(),
  'chat-llama.yaml': await chatModelFolder(),
  'wikisql-smollm2.yaml': await chatModelFolder(),
  'e2e-gpt2.yaml': await gpt2Folder(),
  'preferences.yaml': await chatModelFolder(),
}

for (const name of readdirSync(recipes))
  test(`recipe ${name} is planned`, async () => {
    const file = shapes[name] ? writeJsonl(join(cwd, `${name}.jsonl`), shapes[name]) : data
    const args = [
      'train',
      file,
      '--config',
      join(recipes, name),
      '--max-length',
      models[name] === undefined ? '32' : '64',
      '--dry-run',
      '--json',
    ]
    if (models[name]) args.push('--model', models[name])
    const { code, stdout, stderr } = await cli(args, { cwd })
    assert.is(code, 0, stderr)
    const [plan] = records(stdout) as [{ totalSteps: number; trainable: number; peakBytes: number }]
    assert.ok(plan.totalSteps > 0 && plan.trainable > 0 && plan.peakBytes > 0)
    assert.not.match(stderr, /a rate for/)
  })

for (const [name, model] of Object.entries(models))
  test(`recipe ${name} trains, and its adapter answers`, async () => {
    const file = join(cwd, `${name}.jsonl`)
    const out = join(cwd, `${name}-run`)
    const config = ['--config', join(recipes, name), '--model', model, '--max-length', '64', '--out', out]
    const few = ['--max-steps', '2', '--warmup', '1', '--generate-rows', '2', '--max-new-tokens', '4']
    const { code, stdout, stderr } = await cli(['train', file, ...config, ...few, '--json'], { cwd })
    assert.is(code, 0, stderr)
    const events = records(stdout) as { type: string; loss?: number; when?: string }[]
    const losses = events.filter(({ type }) => type === 'step').map(({ loss }) => loss!)
    assert.is(losses.length, 2)
    assert.ok(losses.every(Number.isFinite), String(losses))
    const when = events.filter(({ type }) => type === 'evaluation').map(event => event.when)
    assert.ok(when.includes('before') && when.includes('after'), String(when))
    const answer = await cli(['generate', join(out, 'adapter'), 'good or bad?', '--max-new-tokens', '4'], { cwd })
    assert.is(answer.code, 0, answer.stderr)
  })

test('the quickstart recipe is what quickstart does', async () => {
  const args = ['--rows', '200', '--dry-run', '--json', '--quiet']
  const sample = join(packageRoot, 'assets', 'sample')
  const recipe = await cli(['train', sample, '--config', join(recipes, 'quickstart.yaml'), ...args], { cwd })
  const [planned] = records(recipe.stdout)
  const [own] = records((await cli(['quickstart', ...args], { cwd })).stdout)
  const { rssBytes: _, ...expected } = own!
  const { rssBytes: __, ...found } = planned!
  assert.equal(found, expected)
})

test('quick-api trains, measures and saves', async () => {
  const { code, stdout, stderr } = await runModule('examples/quick-api', [data], { cwd })
  assert.is(code, 0, stderr)
  assert.match(stdout, /^before validation [\d.]+ [\d.]+\n/)
  assert.match(stdout, /after test [\d.]+ [\d.]+\n$/)
  assert.ok(readdirSync(join(cwd, 'topics-adapter')).includes('adapter_model.safetensors'))
})

test('custom-head trains a head of its own', async () => {
  const { code, stdout, stderr } = await runModule('examples/custom-head', [data], { cwd })
  assert.is(code, 0, stderr)
  assert.match(stdout, /^before [\d.]+\nafter [\d.]+\n$/)
})

test('four verbs train two adapters in turns, the bolder one farther', async () => {
  const pairs = reviews(20).map(({ text }) => ({ prompt: text, chosen: 'yes', rejected: 'no' }))
  const file = writeJsonl(join(cwd, 'pairs.jsonl'), pairs)
  const { code, stdout, stderr } = await runModule('examples/four-verbs', [await chatModelFolder(), file], { cwd })
  assert.is(code, 0, stderr)
  const last = (name: string) =>
    Number([...stdout.matchAll(new RegExp(`^${name} step \\d+: loss ([\\d.]+)`, 'gm'))].at(-1)![1])
  assert.match(stdout, /^careful step 1: loss 0\.6931/m)
  assert.ok(last('bold') < last('careful'), stdout)
  assert.ok(last('careful') < Math.LN2, stdout)
  assert.match(stdout, /^bold says "/m)
  assert.ok(readdirSync(join(cwd, 'states/bold/bold')).includes('adapter_model.safetensors'))
})

test('the seed listing learns entities whose names it has not seen', async () => {
  const { code, stdout, stderr } = await runModule('examples/seed-listing', [], { cwd })
  assert.is(code, 0, stderr)
  const scores = [
    ...stdout.matchAll(
      /^(test before|dev|test): accuracy ([\d.]+), precision ([\d.]+), recall ([\d.]+), f1 ([\d.]+)$/gm,
    ),
  ]
  assert.is(scores.length, 7)
  assert.is([...stdout.matchAll(/^epoch \d: training loss/gm)].length, 5)
  for (const [, , , precision, recall, f1] of scores) {
    const [p, r, f] = [Number(precision), Number(recall), Number(f1)]
    assert.ok(f <= (p + r) / 2 + 1e-3, 'a harmonic mean is at most the arithmetic one')
  }
  const [before, after] = [Number(scores[0]![5]), Number(scores.at(-1)![5])]
  assert.ok(after > before + 0.3, `F1 ${before} before, ${after} after`)
})

test.run()
