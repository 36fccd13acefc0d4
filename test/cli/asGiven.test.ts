import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { asGiven, type Origins } from '../../lib/cli/options/asGiven.ts'
import { COMMANDS, flagOf } from '../../lib/cli/options/option.ts'
import { OPTIONS } from '../../lib/cli/options/options.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { cliHere, workFolder } from './support.ts'

const folder = workFolder()
const write = (name: string, text: string): string => {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}
const rows = Array.from({ length: 40 }, (_, i) => `text number ${i} of them,${i % 2 ? 'yes' : 'no'}\n`)
const data = write('rows.csv', `text,label\n${rows.join('')}`)

const typed = (...names: string[]): Origins => ({ command: 'train', typed: new Set(names) })
const filed = (...names: string[]): Origins => {
  return { command: 'train', typed: new Set(), filed: { path: 'run.yaml', names: new Set(names) } }
}

test('every option of the table that begins an error is named by flag or by file and key', () => {
  const commands: readonly string[] = COMMANDS
  const named = OPTIONS.filter(({ name, more }) => !commands.includes(name) && !more.positional?.includes('train'))
  assert.ok(named.length > 100, `${named.length} options`)
  for (const { name } of named) {
    const message = `${name}: 3, expected 2; mend it`
    assert.is(asGiven(message, typed(name)), `${flagOf(name)}: 3, expected 2; mend it`)
    assert.is(asGiven(message, filed(name)), `run.yaml: ${name}: 3, expected 2; mend it`)
  }
})

test('every option whose name is no word is named as a flag in the midst of a message too, or by the key of the file', () => {
  const compound = OPTIONS.filter(({ name }) => /[A-Z]/.test(name))
  for (const { name } of compound) {
    assert.is(
      asGiven(`train: too long; lower ${name}, or wait`, typed()),
      `train: too long; lower ${flagOf(name)}, or wait`,
    )
    assert.is(asGiven(`train: too long; lower ${name}.`, filed(name)), `train: too long; lower ${name}.`)
  }
})

test('a word that is an option is named as a flag where a cure says to give, change or leave it, alone or in a list', () => {
  const commands: readonly string[] = COMMANDS
  const isWord = (name: string) => !/[A-Z]/.test(name) && !commands.includes(name)
  const words = OPTIONS.filter(({ name, more }) => isWord(name) && !more.positional?.includes('train'))
  assert.ok(words.length > 60, `${words.length} options`)
  for (const { name } of words) {
    const flag = flagOf(name)
    for (const verb of ['lower', 'raise', 'leave', 'give', 'with'])
      assert.is(asGiven(`train: it is ${name}; ${verb} ${name}`, typed()), `train: it is ${name}; ${verb} ${flag}`)
    assert.is(asGiven(`x; ${name} or give maxLength or ${name}`, typed()), `x; ${name} or give --max-length or ${flag}`)
    assert.is(asGiven(`x; give ${name}, maxLength`, filed(name)), `x; give ${name}, --max-length`)
  }
  assert.is(
    asGiven('memory ran out; lower batchSize or batchTokens, and raise accumulate, to start so', typed('batchSize')),
    'memory ran out; lower --batch-size or --batch-tokens, and raise --accumulate, to start so',
  )
})

test('no message of the library names an option as a flag', () => {
  const flags = new RegExp(`[\\s(](?:${OPTIONS.map(({ name }) => flagOf(name)).join('|')})\\b`)
  const lib = join(packageRoot, 'lib')
  const paths = readdirSync(lib, { recursive: true }).map(String)
  for (const path of paths.filter(each => each.endsWith('.ts') && !each.startsWith('cli/'))) {
    const code = readFileSync(join(lib, path), 'utf8').replace(/^ *(?:\/\/|\/?\*).*$/gm, '')
    for (const [text] of code.matchAll(/'[^'\n]*'|`[^`\n]*`/g)) assert.not.match(text, flags, path)
  }
})

test('what is quoted, a path, a command or a plain word stays as it is', () => {
  for (const text of [
    'data: rows.csv, line 3: "maxLength" is no label',
    'data: ./maxLength/batchSize.csv is missing',
    'labels: 3 rows have none',
    'train: nothing trains; attach a method, or choose other targets',
    'report: folder a is no run',
  ])
    assert.is(asGiven(text, typed('train', 'report', 'data')), text)
  for (const text of ['x; "lower lr" it says', 'x; give more rows', 'lower lr', 'x; leave lr/a', 'train: x; give data'])
    assert.is(asGiven(text, typed('train')), text)
  assert.is(asGiven('columns.text: none', typed('columns')), '--columns text: none')
  assert.is(asGiven('columns.text: none', filed('columns')), 'run.yaml: columns.text: none')
  assert.is(asGiven('task: no tags; name columns.tags', typed()), 'task: no tags; name --columns tags=NAME')
})

const wrong: readonly (readonly [flags: readonly string[], yaml: string, message: RegExp])[] = [
  [['--teacher-weight', '0.5'], 'teacherWeight: 0.5', /teacher-weight: 0.5 has no effect/],
  [['--class-weights', '1,2,3'], 'classWeights: [1, 2, 3]', /class-weights: \[1,2,3\], expected balanced or 2/],
  [['--metric', 'f2'], 'metric: f2', /metric: "f2" is unknown/],
  [['--max-length', '9999'], 'maxLength: 9999', /max-length: 9999/],
  [['--layers-to-transform', '9'], 'layersToTransform: [9]', /layers-to-transform: there is no layer 9/],
  [['--mask-probability', '0.3'], 'maskProbability: 0.3', /mask-probability: 0.3 has no effect/],
  [['--r', '4000'], 'r: 4000', /r: 4000/],
]

for (const [flags, yaml, message] of wrong)
  test(`what the library finds wrong with ${flags[0]} is told by flag, and by file and key`, async () => {
    const out = ['--out', join(folder, 'run'), '--no-report', '--quiet']
    const byFlag = await cliHere(['train', data, ...out, ...flags], folder)
    assert.is(byFlag.code, 1, byFlag.stderr)
    assert.match(byFlag.stderr, new RegExp(`error \\w+: --${message.source}`))
    const file = write('run.yaml', `${yaml}\n`)
    const byFile = await cliHere(['train', data, ...out, '--config', file], folder)
    assert.is(byFile.code, 1, byFile.stderr)
    const key = yaml.split(':')[0] ?? ''
    assert.ok(byFile.stderr.includes(`${file}: ${key}: `), byFile.stderr)
    assert.not.match(byFile.stderr, /--[a-z]+-[a-z]+: /)
  })

test('warnings and their cures name flags', async () => {
  const long = write('long.csv', `text,label\n${rows.map(row => `${'word '.repeat(30)}${row}`).join('')}`)
  const { code, stderr } = await cliHere(['train', long, '--dry-run', '--max-length', '8'], folder)
  assert.is(code, 0, stderr)
  assert.match(stderr, /warning: .*are cut.*raise --max-length/)
})

test.run()
