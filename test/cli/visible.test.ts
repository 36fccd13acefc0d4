// Text of others on a terminal: data, labels and configs may hold anything.
// timeout: 300

import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bundled } from '../../lib/bundled.ts'
import { oneLine, visible } from '../../lib/cli/terminal/visible.ts'
import { cli, workFolder, writeJsonl } from './support.ts'

test('control characters are made visible; line feeds, tabs and styles of our own stay', () => {
  assert.is(visible('a\x1b]0;owned\x07b\x9b2J\r\x7f'), 'a\\x1b]0;owned\\x07b\\x9b2J\\x0d\\x7f')
  assert.is(visible('\u202etxt.exe\u2066'), '\\u202etxt.exe\\u2066')
  assert.is(visible('line\n\ttab é 語'), 'line\n\ttab é 語')
  assert.is(visible('\x1b[1mbold\x1b[22m \x1b[2J', true), '\x1b[1mbold\x1b[22m \\x1b[2J')
  assert.is(visible('\x1b[1mbold'), '\\x1b[1mbold')
  assert.is(oneLine('a\r\nb'), 'a  b')
})

test('no command lets data, labels or file names through', async () => {
  const cwd = workFolder()
  const rows = Array.from({ length: 40 }, (_, i) => {
    return { text: `\x1b]0;owned\x07\x1b[2J two\nlines ${i}`, label: ['\x1b[31mred', 'b'][i % 2] }
  })
  writeJsonl(join(cwd, 'd.jsonl'), rows)
  const quick = ['--max-steps', '1', '--no-evaluate-before', '--out', 'r']
  const commands = [
    ['train', 'd.jsonl', ...quick],
    ['train', 'd.jsonl', '--dry-run'],
    ['inspect', 'data', 'd.jsonl'],
    ['inspect', 'batch', 'd.jsonl'],
    ['predict', 'r', '--input', 'd.jsonl', '--top', '2'],
    ['evaluate', 'r', 'd.jsonl'],
    ['train', 'd.jsonl', '--columns', 'text=\x1b[2J'],
    ['predict', '\x1b[2Jnowhere', 'text'],
  ]
  for (const args of commands) {
    const { stdout, stderr } = await cli(args, { cwd })
    assert.not.match(stdout + stderr, /(?!\n)\p{Cc}/u, args.join(' '))
    if (args[0] === 'predict' && stdout) assert.is(stdout.trimEnd().split('\n').length, rows.length)
  }
})

test('nor do configs, adapters and YAML files get anything through', async () => {
  const cwd = workFolder()
  const evil = '\x1b]0;owned\x07\x1b[2J\u202e'
  const rows = Array.from({ length: 40 }, (_, i) => ({ text: `text ${i}`, label: ['a', 'b'][i % 2] }))
  writeJsonl(join(cwd, 'd.jsonl'), rows)
  const { code, stderr } = await cli(['train', 'd.jsonl', '--max-steps', '1', '--no-evaluate-before', '--out', 'r'], {
    cwd,
  })
  assert.is(code, 0, stderr)
  const changed = (folder: string, from: string, file: string, change: (value: Record<string, unknown>) => object) => {
    cpSync(from, join(cwd, folder), { recursive: true })
    const path = join(cwd, folder, file)
    writeFileSync(path, JSON.stringify(change(JSON.parse(readFileSync(path, 'utf8')))))
  }
  const adapter = join(cwd, 'r', 'adapter')
  changed('labels', adapter, 'lowrank.json', value => ({ ...value, labels: [`a${evil}`, `b${evil}`] }))
  changed('method', adapter, 'lowrank.json', value => ({ ...value, method: evil }))
  changed('peft', adapter, 'adapter_config.json', value => ({ ...value, peft_type: evil }))
  changed('targets', adapter, 'adapter_config.json', value => ({
    ...value,
    target_modules: [evil],
    modules_to_save: [evil],
  }))
  changed('base', adapter, 'adapter_config.json', value => ({ ...value, base_model_name_or_path: evil }))
  changed('type', bundled.encoder, 'config.json', value => ({ ...value, model_type: evil }))
  changed('names', bundled.encoder, 'config.json', value => ({ ...value, id2label: { 0: evil, 1: 'b' }, [evil]: evil }))
  writeFileSync(join(cwd, 'evil.yaml'), `"${evil.replaceAll('\x1b', '\\e').replaceAll('\x07', '\\a')}": 1\n`)
  const commands = [
    ...['labels', 'method', 'peft', 'targets', 'base'].map(folder => ['predict', folder, 'a text']),
    ...['labels', 'targets'].map(folder => ['evaluate', folder, 'd.jsonl']),
    ...['type', 'names'].flatMap(folder => [
      ['inspect', 'model', folder],
      ['train', 'd.jsonl', '--model', folder, '--max-steps', '1', '--no-evaluate-before', '--out', `o-${folder}`],
    ]),
    ['train', 'd.jsonl', '--config', 'evil.yaml'],
  ]
  for (const args of commands) {
    const { stdout, stderr } = await cli(args, { cwd })
    assert.ok(stdout + stderr, args.join(' '))
    assert.not.match(stdout + stderr, /(?![\n\t])\p{Cc}|\u202e/u, args.join(' '))
  }
})

test.run()
