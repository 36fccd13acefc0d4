import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { COMMANDS, checkYaml, type Option, parseFlag } from '../../lib/cli/options/option.ts'
import { OPTIONS } from '../../lib/cli/options/options.ts'
import { resolveSettings, runSettings } from '../../lib/cli/options/settings.ts'
import { parseCommandLine, settingsOf } from '../../lib/cli/program.ts'
import { methodOptions } from '../../lib/cli/setup.ts'
import { lora } from '../../lib/index.ts'
import { createMethod, METHODS } from '../../lib/peft/index.ts'
import { workFolder } from './support.ts'

const folder = workFolder()
const option = (name: string): Option => OPTIONS.find(o => o.name === name)!

function settings(...argv: string[]) {
  const parsed = parseCommandLine(argv)
  assert.ok('command' in parsed)
  return settingsOf(parsed.command, parsed.given).settings
}

function yaml(text: string): string {
  const path = join(folder, 'options.yaml')
  writeFileSync(path, text)
  return path
}

function fails(body: () => unknown, pattern: RegExp): void {
  assert.throws(body, (error: Error & { code: string }) => {
    assert.is(error.code, 'ERR_OPTION')
    assert.match(error.message, pattern)
    return true
  })
}

test('every default is a value its own option takes', () => {
  for (const o of OPTIONS)
    for (const value of [o.default, o.more.quickstart])
      if (value !== undefined) assert.equal(checkYaml(o, value, 'table'), value, o.name)
})

test('flags become values of their kind', () => {
  assert.is(parseFlag(option('lr'), '3e-4'), 3e-4)
  assert.equal(parseFlag(option('labels'), 'a, b'), ['a', 'b'])
  assert.equal(parseFlag(option('targetModules'), 'query,attention.output.dense'), ['query', 'attention.output.dense'])
  assert.is(parseFlag(option('targetModules'), 'all-linear'), 'all-linear')
  assert.is(parseFlag(option('targetModules'), '.*\\.(query|key)'), '.*\\.(query|key)')
  assert.equal(parseFlag(option('rankPattern'), 'value=16,key=4'), { value: 16, key: 4 })
  assert.equal(parseFlag(option('columns'), 'text=review,label=stars'), { text: 'review', label: 'stars' })
  assert.is(parseFlag(option('initLoraWeights'), 'false'), false)
  assert.is(parseFlag(option('evalEvery'), '50'), 50)
  assert.equal(parseFlag(option('classWeights'), '1,2.5'), [1, 2.5])
})

test('flags win over the file, the file over defaults', () => {
  const file = yaml('r: 4\nlr: 1.0e-3\nreport: false\nbatchSize: 8\n')
  const got = settings('train', 'd.jsonl', '--config', file, '--r', '16', '--report')
  assert.is(methodOptions(got).r, 16)
  assert.is(got.lr, 1e-3)
  assert.is(got.report, true)
  assert.is(got.batchSize, 8)
  assert.is(got.epochs, undefined)
  assert.is(got.data, 'd.jsonl')
  assert.is(settings('train', 'd.jsonl', '--no-report').report, false)
  assert.is(settings('train', 'd.jsonl', '--resume').resume, true)
  assert.is(settings('train', 'd.jsonl', '--resume', 'c/checkpoint-5').resume, 'c/checkpoint-5')
  assert.is(settings('train', '--config', yaml('data: x.csv\n')).data, 'x.csv')
})

test('an option that stands in place of another ends its default, and a flag what the file says', () => {
  const sizes = (...argv: string[]) => {
    const { batchSize, batchTokens } = settings(...argv)
    return [batchSize, batchTokens]
  }
  assert.equal(sizes('train', 'd.jsonl'), [16, undefined])
  assert.equal(sizes('train', 'd.jsonl', '--batch-tokens', '4096'), [undefined, 4096])
  assert.equal(sizes('quickstart', '--batch-tokens', '512'), [undefined, 512])
  const byTokens = yaml('batchTokens: 64\n')
  assert.equal(sizes('train', 'd.jsonl', '--config', byTokens), [undefined, 64])
  assert.equal(sizes('train', 'd.jsonl', '--config', byTokens, '--batch-size', '4'), [4, undefined])
  const bySize = yaml('batchSize: 8\n')
  assert.equal(sizes('train', 'd.jsonl', '--config', bySize, '--batch-tokens', '32'), [undefined, 32])
  // What contradicts itself is left for training to refuse.
  assert.equal(sizes('train', 'd.jsonl', '--batch-size', '4', '--batch-tokens', '32'), [4, 32])
})

test('quickstart has defaults of its own', () => {
  const got = settings('quickstart')
  assert.is(got.out, 'lowrank-quickstart')
  assert.is(methodOptions(got).targetModules, 'all-linear')
  assert.is(methodOptions(settings('quickstart', '--r', '4')).r, 4)
})

test('mistakes name what is wrong, both values, and the nearest name', () => {
  fails(() => settings('train', 'd', '--learning-rat', '1'), /--learning-rat: there is no such option/)
  fails(
    () => settings('train', 'd', '--report=false'),
    /--report: takes no value, "false" is given; write --report, or --no-report/,
  )
  fails(() => settings('train', 'd', '--batchsize', '1'), /did you mean "--batch-size"/)
  fails(() => settings('train', 'd', '--learning-rate', '1'), /--learning-rate: .*\(here it is "--lr"\)/)
  fails(() => settings('train', 'd', '--config', yaml('num_train_epochs: 3')), /\(here it is "epochs"\)/)
  fails(() => lora({ lora_alpha: 16 } as object), /^lora_alpha: is no option of lora \(here it is "alpha"\)/)
  fails(() => settings('trian', 'd'), /trian: there is no such command \(did you mean "train"\?\)/)
  fails(() => settings('evaluate', 'a', 'd', '--epochs', '3'), /lowrank evaluate has no such option; train/)
  fails(() => settings('train', 'd', '--r', '2.5'), /--r: "2.5" is not a whole number from 1/)
  fails(
    () => settings('train', 'd', '--schedule', 'linaer'),
    /not one of constant, linear, cosine \(did you mean "linear"/,
  )
  fails(() => settings('train', 'd', '--lr'), /--lr: needs a value/)
  fails(() => settings('train', 'd', 'e', 'f'), /too many arguments/)
  fails(() => settings('train', 'd', '--data', 'e'), /--data: given twice, "e" and "d"/)
  fails(() => settings('train'), /data is missing; give --data or --train/)
  fails(() => settings('evaluate', 'a'), /data is missing/)
  fails(
    () => settings('train', 'd', '--config', yaml('batchsize: 3')),
    /no option "batchsize" \(did you mean "batchSize"/,
  )
  fails(() => settings('train', 'd', '--config', yaml('batch_size: 3')), /did you mean "batchSize"/)
  fails(() => settings('train', 'd', '--config', yaml('r: eight')), /r: "eight" \(string\) is not a whole number/)
  fails(() => settings('train', 'd', '--config', yaml('r: [8]')), /r: \[8\] \(list\) is not a whole number/)
  fails(() => settings('train', 'd', '--config', yaml('- r\n- 8')), /holds a list/)
  fails(() => settings('train', 'd', '--config', yaml('r: 8\n x: :\n  - [')), /options.yaml:\d+:\d+: is not YAML/)
  fails(() => settings('train', 'd', '--config', join(folder, 'none.yaml')), /none.yaml/)
  const nine = (name: string) => `[${Array.from({ length: 9 }, () => `*${name}`).join(', ')}]`
  const bomb = ['a: &a [x]', ...'bcdefghi'.split('').map((c, i) => `${c}: &${c} ${nine('abcdefgh'[i]!)}`)].join('\n')
  fails(
    () => settings('train', 'd', '--config', yaml(bomb)),
    /alias stands for too much .*alias count.*write the values out/,
  )
})

test('a file may hold options of other commands', () => {
  const file = yaml('data: d.jsonl\nadapter: a\nlr: 0.001\nr: 4\n')
  assert.is(settings('evaluate', '--config', file).adapter, 'a')
  assert.is(methodOptions(settings('train', '--config', file)).r, 4)
})

test('every method is made from its options, with its own defaults', () => {
  for (const { type, fields } of METHODS) {
    const made = createMethod(type, methodOptions(resolveSettings('train', { method: type }).settings))
    const { r } = made.options as { r?: number }
    assert.is(r, fields.find(({ name }) => (name as string) === 'r')?.default, type)
    for (const { name, isFound } of fields)
      if (!isFound)
        assert.ok(
          OPTIONS.some(option => option.name === name),
          name,
        )
  }
  const given = { r: '4', rankPattern: 'value=2', bias: 'all', useRslora: true, initLoraWeights: 'gaussian' }
  const { r, rankPattern, useRslora } = methodOptions(resolveSettings('train', given).settings)
  assert.equal({ r, rankPattern, useRslora }, { r: 4, rankPattern: { value: 2 }, useRslora: true })
})

test('--help and --version are texts for every command', () => {
  for (const command of COMMANDS) {
    const parsed = parseCommandLine([...command.split(' '), '--help'])
    assert.ok('text' in parsed && parsed.text.includes(`lowrank ${command}`), command)
  }
  assert.ok('text' in parseCommandLine(['--version']))
  assert.ok('text' in parseCommandLine([]))
})

test('records of a run hold what decided it, and nothing of other commands and methods', () => {
  const found = runSettings(settings('train', 'd.csv'), createMethod('lora', { r: 4 }), { lr: 0.002 })
  assert.equal([found.data, found.method, found.r, found.lr, found.epochs], ['d.csv', 'lora', 4, 0.002, undefined])
  for (const name of ['trials', 'layout', 'targetR', 'numVirtualTokens', 'temperature', 'maxNewTokens', 'quiet', 'out'])
    assert.not.ok(name in found, name)
})

test.run()
