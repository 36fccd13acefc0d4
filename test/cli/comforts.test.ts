// Help with examples, config files from data, completion, pairs, and errors told together.

import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { parse } from 'yaml'
import { resumeCommand } from '../../lib/cli/interrupt.ts'
import { completionScript } from '../../lib/cli/options/completion.ts'
import { COMMON, EXAMPLES } from '../../lib/cli/options/examples.ts'
import { COMMANDS, SHELLS } from '../../lib/cli/options/option.ts'
import { optionsOf } from '../../lib/cli/options/options.ts'
import { parseCommandLine, settingsOf } from '../../lib/cli/program.ts'
import { cli, cliHere, reviews, workFolder, writeJsonl } from './support.ts'

const cwd = workFolder()
const textOf = (argv: readonly string[]) => {
  const parsed = parseCommandLine(argv)
  assert.ok('text' in parsed)
  return parsed.text
}

test('help COMMAND is COMMAND --help, with examples, and the options of most runs first', () => {
  assert.is(textOf(['help', 'train']), textOf(['train', '--help']))
  assert.is(textOf(['help', 'inspect', 'data']), textOf(['inspect', 'data', '--help']))
  assert.is(textOf(['help']), textOf(['--help']))
  for (const command of COMMANDS) {
    const known = optionsOf(command).map(({ name }) => name)
    for (const name of COMMON[command] ?? []) assert.ok(known.includes(name), `${command} ${name}`)
    for (const example of EXAMPLES[command]) assert.ok(textOf(['help', ...command.split(' ')]).includes(example))
  }
  assert.throws(() => textOf(['help', 'trian']), /trian: there is no such command \(did you mean "train"\?\)/)
  assert.ok(textOf(['help', 'inspect']).includes('inspect data'))
  const help = textOf(['help', 'train'])
  assert.ok(help.indexOf('--epochs <n>') < help.indexOf('--encoding'))
  assert.is(help.split('--epochs <n>').length, 2, 'an option stands in one place')
})

test('every example is a command line that is understood', () => {
  for (const example of Object.values(EXAMPLES).flat()) {
    const line = example.replace(/^LOWRANK_CUDA=1 /, '').replace(/ >>? .*/, '')
    const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain!)
    assert.is(words[0], 'lowrank')
    const given = words.slice(1).filter((word, i, all) => word !== '--config' && all[i - 1] !== '--config')
    const parsed = parseCommandLine(given)
    assert.ok('command' in parsed, example)
    if (!example.includes('--config')) settingsOf(parsed.command, parsed.given)
  }
})

test('all that is wrong is told at once, by the names it was given under', () => {
  const file = join(cwd, 'wrong.yaml')
  writeFileSync(file, 'epochs: x\nlearningRate: 1\nbatchSize: -1\n')
  const parsed = parseCommandLine(['train', 'd.csv', '--config', file, '--r', 'zz'])
  assert.ok('command' in parsed)
  let message = ''
  try {
    settingsOf(parsed.command, parsed.given)
  } catch (error) {
    message = (error as Error).message
  }
  assert.match(message, /^4 options are wrong:\n/)
  for (const part of [/wrong.yaml: epochs: "x"/, /"learningRate" \(here it is "lr"\)/, /batchSize: -1/, /--r: "zz"/])
    assert.match(message, part)
  assert.throws(
    () => parseCommandLine(['train', 'd.csv', '--lr', 'abc', '--bogus', '3', '--epoch=2', '--batch-size', '1.5']),
    /^4 options are wrong:\n {2}--bogus: .*\n {2}--epoch: .*"--epochs".*\n {2}--batch-size: "1.5".*\n {2}--lr: "abc"/,
  )
  writeFileSync(file, 'method: bitfit\nr: 4\n')
  const other = parseCommandLine(['train', 'd.csv', '--config', file])
  assert.ok('command' in other)
  assert.throws(() => settingsOf(other.command, other.given), /wrong.yaml: r: method bitfit has no such option/)
})

test('the line to resume with replaces nothing', () => {
  assert.is(resumeCommand(['train', 'a b.csv', '--overwrite'], true), "npx lowrank train 'a b.csv' --resume")
  assert.is(resumeCommand(['train', '-c', 'x.yaml'], true), 'npx lowrank train -c x.yaml --no-overwrite --resume')
  assert.is(resumeCommand(['train', 'x', '--resume'], false), 'npx lowrank train x --resume')
})

test('commands to copy are as a shell reads them', async () => {
  writeJsonl(join(cwd, 'data.jsonl'), reviews(30))
  const { stdout } = await cli(['init', 'data.jsonl', '--out', "Anna's läufe.yaml"], { cwd })
  assert.match(stdout, "next: npx lowrank train --config 'Anna'\\''s läufe.yaml'\n")
})

test('a name that is the id of a hub is told what it is, and what to do', async () => {
  writeJsonl(join(cwd, 'data.jsonl'), reviews(30))
  const { code, stderr } = await cli(['train', 'data.jsonl', '--model', 'google/bert'], { cwd })
  assert.is(code, 1)
  assert.match(stderr, /ERR_HUB: --model: there is no folder google\/bert, and hub: .*`hf download google\/bert`/)
})

test('init writes what it found, and train takes it', async () => {
  const { code, stderr } = await cli(['init', 'data.jsonl'], { cwd })
  assert.is(code, 0, stderr)
  const text = readFileSync(join(cwd, 'lowrank.yaml'), 'utf8')
  const found = parse(text) as Record<string, unknown>
  assert.is(found.data, 'data.jsonl')
  assert.is(found.task, 'sequence-classification')
  assert.is((found.columns as Record<string, string>).text, 'text')
  assert.match(text, /^# Peak learning rate/m)
  // Lines with a value are defaults: all of them may be uncommented at once.
  writeFileSync(join(cwd, 'open.yaml'), text.replace(/^# (\w+: .+)$/gm, '$1'))
  const dry = await cli(['train', '--config', 'open.yaml', '--dry-run'], { cwd })
  assert.is(dry.code, 0, dry.stderr)
  assert.match(
    (await cli(['init', 'data.jsonl'], { cwd })).stderr,
    /ERR_OPTION: (?:--)?out: lowrank.yaml is there already/,
  )
})

test('init keeps how the data were to be read', async () => {
  writeFileSync(
    join(cwd, 'umlauts.csv'),
    Buffer.from(`text|label\n${'sch\xf6n|gut\nsch\xe4big|schlecht\n'.repeat(9)}`, 'latin1'),
  )
  const args = ['init', 'umlauts.csv', '--encoding', 'cp1252', '--delimiter', '|', '--out', 'read.yaml']
  const { code, stderr } = await cliHere(args, cwd)
  assert.is(code, 0, stderr)
  const { encoding, delimiter, labels } = parse(readFileSync(join(cwd, 'read.yaml'), 'utf8')) as Record<string, unknown>
  assert.equal([encoding, delimiter, labels], ['cp1252', '|', ['gut', 'schlecht']])
})

const has = (program: string) => spawnSync(program, ['--version']).status === 0

test('scripts for every shell hold every command, and are read by those shells that are here', () => {
  for (const shell of SHELLS) {
    const script = completionScript(shell)
    for (const flag of ['target-modules', 'evaluate-on', 'no-report']) assert.ok(script.includes(flag), shell)
    for (const command of COMMANDS) assert.ok(script.includes(command.split(' ')[0]!), shell)
    if (!has(shell)) continue
    const checked = spawnSync(shell, ['-n'], { input: script, encoding: 'utf8' })
    assert.is(checked.status, 0, checked.stderr)
  }
  assert.throws(() => completionScript('tcsh'), /"tcsh" is no shell of bash, zsh, fish/)
})

test('bash completes commands, flags and choices', () => {
  if (!has('bash')) return
  writeFileSync(join(cwd, 'my data.csv'), '')
  const complete = (...words: string[]) => {
    const list = words.map(word => `'${word}'`).join(' ')
    const body = `${completionScript('bash')}\nCOMP_WORDS=(lowrank ${list}); COMP_CWORD=${words.length}; _lowrank`
    const { stdout } = spawnSync('bash', ['-c', `${body}; printf '%s\n' "\${COMPREPLY[@]}"`], { encoding: 'utf8', cwd })
    return stdout.trim().split('\n')
  }
  assert.equal(complete('tr'), ['train'])
  assert.equal(complete('inspect', 'b'), ['batch'])
  assert.equal(complete('train', '--schedule', ''), ['constant', 'linear', 'cosine'])
  assert.equal(complete('inspect', 'data', '--li'), ['--limit'])
  assert.equal(complete('help', 'mer'), ['merge'])
  assert.equal(complete('train', '--schedule', '=', 'cos'), ['cosine'])
  assert.equal(complete('train', '--schedule', '='), ['constant', 'linear', 'cosine'])
  assert.equal(complete('train', 'my'), ['my data.csv'])
})

test('pairs are predicted two by two', async () => {
  const pairs = Array.from({ length: 40 }, (_, i) => {
    return { premise: `a ${i % 2 ? 'good' : 'bad'} day`, hypothesis: 'it is good', label: i % 2 ? 'yes' : 'no' }
  })
  writeJsonl(join(cwd, 'pairs.jsonl'), pairs)
  const fast = ['--epochs', '1', '--max-length', '16', '--out', 'pairs', '--no-report', '--trackers', 'none']
  const trained = await cli(['train', 'pairs.jsonl', ...fast], { cwd })
  assert.is(trained.code, 0, trained.stderr)
  const ask = async (args: readonly string[], input = '') => {
    const { stdout, stderr, code } = await cli(['predict', 'pairs', ...args, '--json'], { cwd, input })
    const lines = stdout.split('\n').filter(line => line.includes('"prediction"'))
    return { code, stderr, predicted: lines.map(line => JSON.parse(line) as { text: string; probability: number }) }
  }
  const given = await ask(['a good day', 'it is good', 'a bad day', 'it is good'])
  assert.is(given.predicted.length, 2)
  const typed = await ask([], 'a good day\tit is good\n')
  const near = (a: { probability: number }) => Math.abs(a.probability - given.predicted[0]!.probability) < 1e-5
  assert.ok(typed.predicted[0]!.text === given.predicted[0]!.text && near(typed.predicted[0]!))
  const file = await ask(['--input', 'pairs.jsonl'])
  assert.ok(near(file.predicted[1]!))
  assert.match((await ask(['one text'])).stderr, /ERR_OPTION: predict: 1 texts, but the adapter reads pairs/)
  assert.match((await ask([], 'no tab\n')).stderr, /ERR_DATA: predict: line 1 holds 1 texts, the adapter reads pairs/)
})

test.run()
