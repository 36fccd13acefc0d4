// The Python that a card shows: run as it stands, it loads the base with the labels and the adapter over it.
// LOWRANK_PYTHON names a Python with peft.
// timeout: 600

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bundled } from '../../lib/bundled.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { HubServer } from '../hub/server.ts'
import { capitals, chatModelFolder } from '../support/chatModel.ts'
import { seq2seqFolder } from '../support/seq2seqModel.ts'
import { cli, reviews, workFolder, writeJsonl } from './support.ts'

const python = process.env.LOWRANK_PYTHON

/** Trains for two steps and returns the adapter's or model's folder. */
async function trained(data: string, args: readonly string[], env: Record<string, string> = {}): Promise<string> {
  const cwd = workFolder()
  const short = ['--max-steps', '2', '--no-report', '--no-evaluate-before', '--out', 'out', '--max-length', '64']
  const { code, stderr } = await cli(['train', data, ...short, ...args], { cwd, env })
  assert.is(code, 0, stderr)
  return join(cwd, 'out', args.includes('full') ? 'model' : 'adapter')
}

/** The Python of a folder's card. */
function programOf(folder: string): string {
  const [, program] = /```python\n([\s\S]*?)```/.exec(readFileSync(join(folder, 'README.md'), 'utf8'))!
  return program!
}

/** Runs the program of a folder's card and returns the labels that the model then has. */
async function labelsBy(folder: string, base: string, env: Record<string, string> = {}): Promise<unknown> {
  return labelsOf(programOf(folder).replaceAll('path/to/base', base), folder, env)
}

/** Runs a program that opens the adapter in a folder as `model`: its labels. */
async function labelsOf(text: string, folder: string, env: Record<string, string> = {}): Promise<unknown> {
  const { code, found, said } = await inPython(
    `${text.replaceAll('path/to/this/folder', folder)}\nimport json; print(json.dumps(list(model.config.id2label.values())))\n`,
    env,
  )
  assert.is(code, 0, said)
  return JSON.parse(found.trim().split('\n').at(-1)!)
}

async function inPython(program: string, env: Record<string, string> = {}) {
  const child = spawn(python!, ['-W', 'ignore', '-c', program], { env: { ...process.env, ...env } })
  let [found, said] = ['', '']
  child.stdout.on('data', (part: Buffer) => {
    found += part
  })
  child.stderr.on('data', (part: Buffer) => {
    said += part
  })
  const [code] = await once(child, 'close')
  return { code, found, said: `${program}\n${said}` }
}

/** A test that needs Python. */
function withPython(name: string, run: () => Promise<void>): void {
  test(name, async () => (python ? await run() : console.log('skip: LOWRANK_PYTHON names no Python with peft')))
}

withPython('classes of a text, by an adapter and by a whole model', async () => {
  const data = writeJsonl(join(workFolder(), 'reviews.jsonl'), reviews(24))
  assert.equal(await labelsBy(await trained(data, []), bundled.encoder), ['bad', 'good'])
  const whole = await trained(data, ['--method', 'full'])
  assert.not.match(programOf(whole), /peft|path\/to\/base/)
  assert.equal(await labelsBy(whole, bundled.encoder), ['bad', 'good'])
})

withPython('a number, which has no name', async () => {
  const rows = reviews(24).map(({ text }, i) => ({ text, label: i / 7 + 0.5 }))
  const folder = await trained(writeJsonl(join(workFolder(), 'numbers.jsonl'), rows), [])
  assert.is(((await labelsBy(folder, bundled.encoder)) as unknown[]).length, 1)
})

withPython('tags of words', async () => {
  const file = join(workFolder(), 'tags.conll')
  writeFileSync(file, Array.from({ length: 20 }, (_, i) => `Anna B-PER\nsaw O\nParis B-LOC\n${i} O\n`).join('\n'))
  const folder = await trained(file, [])
  assert.equal(await labelsBy(folder, bundled.encoder), ['O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER'])
})

withPython('language models answer, of both kinds', async () => {
  const chat = writeJsonl(join(workFolder(), 'chat.jsonl'), capitals(12))
  const decoder = await chatModelFolder()
  await labelsBy(await trained(chat, ['--model', decoder]), decoder)
  const rows = Array.from({ length: 12 }, (_, i) => ({ prompt: `say ${i % 4}`, completion: `it is ${i % 4}` }))
  const both = await seq2seqFolder()
  const pairs = writeJsonl(join(workFolder(), 'pairs.jsonl'), rows)
  assert.match(programOf(await trained(pairs, ['--model', both])), /AutoModelForSeq2SeqLM/)
})

withPython('over a base of the hub, which PEFT finds by itself', async () => {
  const server = await HubServer.start()
  try {
    const names = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']
    const files = names.map(name => [name, readFileSync(join(bundled.encoder, name))] as const)
    server.models.set('me/tiny', Object.fromEntries(files))
    const env = { HF_ENDPOINT: server.endpoint, HF_HOME: workFolder(), HF_HUB_DISABLE_XET: '1' }
    const data = writeJsonl(join(workFolder(), 'reviews.jsonl'), reviews(24))
    const folder = await trained(data, ['--model', 'me/tiny'], env)
    assert.match(programOf(folder), /AutoPeftModelForSequenceClassification\.from_pretrained\("path\/to\/this\/folder"/)
    const offline = { ...env, HF_HUB_OFFLINE: '1' }
    assert.equal(await labelsBy(folder, 'nowhere', offline), ['bad', 'good'])
  } finally {
    await server.close()
  }
})

withPython(
  'the lines of docs/from-peft.md take the labels along; a bare call fails or does not know them',
  async () => {
    const page = readFileSync(join(packageRoot, 'docs/from-peft.md'), 'utf8')
    const [, lines = ''] = /```python\n([\s\S]*?)```/.exec(page) ?? []
    const rows = reviews(24).map((row, i) => (i % 3 ? row : { ...row, label: 'mixed' }))
    const three = await trained(writeJsonl(join(workFolder(), 'three.jsonl'), rows), [])
    assert.equal(await labelsOf(lines, three), ['bad', 'good', 'mixed'])
    const bare = `from peft import AutoPeftModelForSequenceClassification as Auto
model = Auto.from_pretrained("path/to/this/folder")`
    const failed = await inPython(bare.replace('path/to/this/folder', three))
    assert.is.not(failed.code, 0)
    assert.match(failed.said, /size mismatch/)
    const two = await trained(writeJsonl(join(workFolder(), 'two.jsonl'), reviews(24)), [])
    assert.equal(await labelsOf(bare, two), ['LABEL_0', 'LABEL_1'])
  },
)

test.run()
