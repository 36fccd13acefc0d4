// Text of others on a terminal: data, labels and configs may hold anything.
// timeout: 300

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
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

test.run()
