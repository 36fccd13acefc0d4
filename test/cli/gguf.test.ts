// A GGUF file as the base of commands, and models and adapters written as such.
// timeout: 300

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openGguf } from '../../lib/io/gguf/file.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { capitals } from '../support/chatModel.ts'
import { cliHere, records, reviews, workFolder, writeJsonl } from './support.ts'

const BASE = join(packageRoot, 'test/golden/gguf/blocks.gguf')
const cwd = workFolder()
writeJsonl(join(cwd, 'chat.jsonl'), capitals(30))
const run = (...args: string[]) => cliHere(args, cwd)
const fast = [
  '--max-steps',
  '3',
  '--batch-size',
  '4',
  '--max-length',
  '48',
  '--trackers',
  'none',
  '--no-report',
  '--quiet',
]
const typesOf = (name: string) => {
  const file = openGguf(join(cwd, name))
  file.close()
  return new Set([...file.tensors.values()].map(({ type }) => type.name))
}
const answer = async (...args: string[]) => {
  const { code, stdout, stderr } = await run('generate', ...args, 'what is it', '--max-new-tokens', '6', '--json')
  assert.is(code, 0, stderr)
  return (records(stdout)[0] as { text?: string } | undefined)?.text
}

test('a GGUF file is trained, asked and inspected', async () => {
  const { code, stderr } = await run(
    'train',
    'chat.jsonl',
    '--model',
    BASE,
    '--method',
    'dora',
    ...fast,
    '--out',
    'run',
  )
  assert.is(code, 0, stderr)
  assert.ok(existsSync(join(cwd, 'run/adapter/tokenizer.json')), 'the tokenizer comes along')
  const { stdout } = await run('inspect', 'model', BASE)
  assert.match(stdout, /^model +llama \(LlamaForCausalLM\)$/m)
  assert.match(stdout, / as blocks in memory$/m)
})

test('merge writes a folder and a file that answer alike', async () => {
  for (const [out, ...more] of [['folder'], ['merged.gguf', '--type', 'f32']] as const) {
    const { code, stderr } = await run('merge', 'run', '--out', out, ...more)
    assert.is(code, 0, stderr)
  }
  assert.equal(typesOf('merged.gguf'), new Set(['F32']))
  const said = await answer('folder')
  assert.ok(said !== undefined)
  assert.is(await answer('merged.gguf'), said)
  assert.is(await answer('run', '--storage', 'f32'), said)
  const taken = await run('merge', 'run', '--out', 'merged.gguf')
  assert.match(taken.stderr, /^error ERR_OPTION: --out: merged\.gguf is there already/)
})

test('merge tells what rounding does to the logits, and refuses more than is allowed', async () => {
  const change = async (type: string, out: string) => {
    const { code, stdout, stderr } = await run('merge', 'run', '--out', out, '--type', type, '--json')
    assert.is(code, 0, stderr)
    return records(stdout)[0] as { type: string; largest: number; mean: number; deviation: number }
  }
  const [fine, coarse] = [await change('q8_0', 'fine.gguf'), await change('q4_0', 'coarse.gguf')]
  for (const { type, largest, mean, deviation } of [fine, coarse]) {
    assert.is(type, 'change')
    assert.ok(mean > 0 && largest > mean && deviation > mean)
  }
  assert.ok(
    coarse.mean > 4 * fine.mean,
    `${coarse.mean} and ${fine.mean}: eight bits have sixteen times the steps of four`,
  )
  const before = readdirSync(cwd)
  for (const [type, out] of [
    ['q4_0', 'much.gguf'],
    ['nf4', 'much'],
  ] as const) {
    const { code, stdout, stderr } = await run('merge', 'run', '--out', out, '--type', type, '--max-change', '0.001')
    assert.is(code, 1)
    assert.match(
      stdout,
      new RegExp(`^${type} changes logits by [\\d.]+ on average, [\\d.]+ at most; their standard deviation is`),
    )
    assert.match(
      stderr,
      /^error ERR_CHECKPOINT: --max-change: .* of their standard deviation, and 0\.001 is allowed; take a type of more bits/,
    )
  }
  assert.equal(readdirSync(cwd), before, 'nothing is left')
})

test('merge writes codes of bitsandbytes, into folders alone', async () => {
  const { code, stdout, stderr } = await run('merge', 'run', '--out', 'codes', '--type', 'nf4', '--double-quant')
  assert.is(code, 0, stderr)
  assert.match(stdout, /^nf4 changes logits by /)
  const { quantization_config: config } = JSON.parse(readFileSync(join(cwd, 'codes/config.json'), 'utf8'))
  assert.equal([config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant], ['nf4', true])
  const refused = async (message: RegExp, ...args: string[]) => {
    assert.match((await run(...args)).stderr, message)
  }
  const file = /^error ERR_OPTION: --type: nf4 is of folders for bitsandbytes, and --out other\.gguf a GGUF file/
  await refused(file, 'merge', 'run', '--out', 'other.gguf', '--type', 'nf4')
  await refused(
    /^error ERR_OPTION: --double-quant: is of --type nf4 and fp4/,
    'merge',
    'run',
    '--out',
    'x',
    '--double-quant',
  )
  const rows = /^error ERR_OPTION: --double-quant: int8 has a scale a row/
  await refused(rows, 'merge', 'run', '--out', 'x', '--type', 'int8', '--double-quant')
  await refused(
    /type: nf4 is of merged models; an adapter's folder is f32/,
    'convert',
    'run',
    '--out',
    'x',
    '--type',
    'nf4',
  )
})

test('convert writes an adapter of any mergeable method for llama.cpp', async () => {
  const { code, stderr } = await run('convert', 'run', '--out', 'adapter.gguf', '--type', 'f16')
  assert.is(code, 0, stderr)
  assert.equal(typesOf('adapter.gguf'), new Set(['F16']))
  const wide = await run('convert', 'run', '--out', 'other.gguf', '--type', 'q8_0')
  assert.match(wide.stderr, /^error ERR_OPTION: --type: q8_0 is of merged models/)
  const folder = await run('convert', 'run', '--out', 'plain', '--type', 'f16')
  assert.match(folder.stderr, /^error ERR_OPTION: --type: f16 is of GGUF files; let --out end with \.gguf/)
})

test('a classifier is no GGUF file', async () => {
  writeJsonl(join(cwd, 'reviews.jsonl'), reviews(40))
  const { code, stderr } = await run('train', 'reviews.jsonl', ...fast, '--out', 'labels')
  assert.is(code, 0, stderr)
  const refused = await run('merge', 'labels', '--out', 'labels.gguf')
  assert.match(refused.stderr, /^error ERR_UNSUPPORTED: saveGguf: GGUF files hold decoders/)
  assert.not.ok(existsSync(join(cwd, 'labels.gguf')))
})

test.run()
