// timeout: 600
// What a user gets: the tarball of a release, installed in an empty folder with no compiler, scripts or registry,
// works as ES module, as CommonJS and for TypeScript.

import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, normalize, relative } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { writeJsonl } from '../cli/support.ts'
import { capitals, chatModelFolder } from '../support/chatModel.ts'
import { seq2seqFolder } from '../support/seq2seqModel.ts'
import { temporaryFolder } from '../support/temporary.ts'
import {
  type Home,
  IS_RELEASE,
  install,
  type Packed,
  packRepository,
  prebuiltFile,
  TARGETS,
  unpackable,
} from './support.ts'

const PREBUILT = TARGETS.map(prebuiltFile)
const reason = unpackable()
const folder = temporaryFolder()

let packed: Packed
let home: Home

/** A test that needs the tarball. */
function withTarball(name: string, run: () => void | Promise<void>): void {
  test(name, async () => (reason === undefined ? await run() : console.log(`skip: ${reason}`)))
}

const read = (file: string) => readFileSync(join(home.path, 'node_modules/lowrank', file), 'utf8')

withTarball('the tarball holds what users need, nothing of tests, and no scripts', () => {
  packed = packRepository(folder)
  home = install(folder, packed.filename)
  const paths = packed.files.map(file => file.path)
  const texts = ['LICENSE', 'NOTICE', 'README.md', 'CHANGELOG.md', 'SECURITY.md', 'docs/cli.md']
  for (const needed of [...texts, ...PREBUILT, 'package.json', 'scripts/build.mjs', 'examples/recipes/quickstart.yaml'])
    assert.ok(paths.includes(needed), `the tarball lacks ${needed}`)
  const odd = paths.filter(path => /(^|\/)(test|golden|bench|node_modules)\/|\.test\.|\.map$|\.tsbuildinfo$/.test(path))
  assert.equal(odd, [])
  console.log(`tarball: ${(packed.size / 1e6).toFixed(2)} MB, ${packed.files.length} files`)

  const manifest = JSON.parse(read('package.json'))
  assert.is(manifest.scripts, undefined)
  for (const field of ['repository', 'homepage', 'bugs', 'keywords', 'os', 'cpu', 'libc'])
    assert.ok(manifest[field], field)
  for (const path of [manifest.main, manifest.types, manifest.bin.lowrank, manifest.exports['.'].default])
    assert.ok(paths.includes(normalize(path)), `${path} is not in the tarball`)
  assert.ok(JSON.parse(readFileSync(join(folder, 'repository/package.json'), 'utf8')).scripts.prepare)
})

withTarball('every link of the texts leads to a file of the tarball', () => {
  const paths = new Set(packed.files.map(file => file.path))
  const broken: string[] = []
  for (const file of [...paths].filter(path => path.endsWith('.md')))
    for (const [, link] of read(file).matchAll(/\]\((?!https?:|#|mailto:)([^)#\s]+)/g)) {
      const target = normalize(join(dirname(file), link!))
      if (!paths.has(target) && ![...paths].some(path => path.startsWith(`${target}/`))) broken.push(`${file}: ${link}`)
    }
  assert.equal(broken, [])
})

withTarball('doctor names the prebuilt file, and nothing names the folder it was packed in', () => {
  const answer = JSON.parse(home.run('npx', '--offline', 'lowrank', 'doctor', '--json').trim().split('\n').at(-1)!)
  assert.is(answer.addon.origin, 'prebuilt')
  assert.ok(
    PREBUILT.some(path => answer.addon.path.endsWith(path)),
    answer.addon.path,
  )
  assert.ok(answer.ok)
  const installed = join(home.path, 'node_modules/lowrank')
  const places = readdirSync(installed, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name))
    .filter(file => [packageRoot, folder].some(place => readFileSync(file).includes(place)))
  assert.equal(
    places.map(file => relative(installed, file)),
    [],
  )
})

// One step of training, on the CPU, with what the package brings.
const JOB = `
const tokenizer = await loadTokenizer(bundled.encoder)
const model = await loadModel(bundled.encoder, { task: 'sequence-classification', labels: ['no', 'yes'] })
const method = attach(model, lora({ r: 4, targetModules: ['query'] }))
console.log(tokenizer.vocabSize > 1000, method.name)
model.dispose()
`
const NAMES = '{ attach, bundled, loadModel, loadTokenizer, lora }'
// One name and its use of each other entry point.
const SUBPATHS: readonly [name: string, from: string, use: string][] = [
  ['accuracy', 'metrics', 'accuracy([1, 0], [1, 1])'],
  ['AdamW', 'optim', 'AdamW.name'],
  ['jsonlTracker', 'trackers', 'typeof jsonlTracker'],
  ['MODEL_TYPES', 'models', "MODEL_TYPES.includes('bert')"],
  ['METHODS', 'peft', 'METHODS.length > 10'],
  ['renderReport', 'report', 'typeof renderReport'],
  ['scale', 'ops', 'typeof scale'],
  ['TASKS', 'tasks', 'TASKS.length > 3'],
  ['toRow', 'data', "toRow({ text: 'a' }, 1).line"],
  ['loadTokenizer as other', 'tokenizer', 'other === loadTokenizer'],
  ['train', 'train', 'typeof train'],
  ['sweep', 'study', 'typeof sweep'],
]
const USES = SUBPATHS.map(([, , use]) => use).join(', ')
const USED = '0.5 AdamW function true true function function true 1 true function function\n'
const imports = SUBPATHS.map(([name, from]) => `import { ${name} } from 'lowrank/${from}'\n`).join('')
const requires = SUBPATHS.map(([name, from]) => {
  return `const { ${name.replace(' as ', ': ')} } = require('lowrank/${from}')\n`
}).join('')

withTarball('it is imported by ES modules and required by CommonJS', () => {
  const manifest = JSON.parse(read('package.json'))
  const known = Object.keys(manifest.exports).flatMap(name => /^\.\/(\w+)$/.exec(name)?.[1] ?? [])
  assert.equal(SUBPATHS.map(([, from]) => from).sort(), known.sort(), 'every entry point is tried')
  writeFileSync(join(home.path, 'job.mjs'), `import ${NAMES} from 'lowrank'\n${imports}${JOB}console.log(${USES})`)
  const job = `void (async () => {${JOB}console.log(${USES})})()`
  writeFileSync(join(home.path, 'job.cjs'), `const ${NAMES} = require('lowrank')\n${requires}${job}`)
  assert.is(home.run('node', 'job.mjs'), `true default\n${USED}`)
  assert.is(home.run('node', '--no-warnings', 'job.cjs'), `true default\n${USED}`)
})

withTarball('its types are found by TypeScript, from ES modules and from CommonJS', () => {
  writeFileSync(join(home.path, 'job.mts'), `import ${NAMES} from 'lowrank'\n${imports}${JOB}console.log(${USES})`)
  const job = `void (async () => {${JOB}console.log(${USES})})()`
  writeFileSync(join(home.path, 'job.cts'), `import ${NAMES} from 'lowrank'\n${imports}${job}`)
  writeFileSync(join(home.path, 'wrong.mts'), `import { lora } from 'lowrank'\nlora({ r: 'four' })\n`)
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc')
  const types = join(packageRoot, 'node_modules/@types')
  const options = [
    '--noEmit',
    '--pretty',
    'false',
    '--strict',
    '--module',
    'nodenext',
    '--types',
    'node',
    '--typeRoots',
    types,
  ]
  const args = [tsc, ...options, '--lib', 'es2023,esnext.disposable']
  const check = (...files: string[]) =>
    spawnSync(process.execPath, [...args, ...files], { cwd: home.path, encoding: 'utf8' }).stdout
  assert.is(check('job.cts', '--module', 'node16'), '')
  const good = ['job.mts', 'job.cts']
  for (const document of [
    'README.md',
    ...readdirSync(join(home.path, 'node_modules/lowrank/docs')).map(name => `docs/${name}`),
  ])
    for (const [, block] of read(document).matchAll(/^```ts\n([\s\S]*?)^```$/gm)) {
      if (!/from 'lowrank['/]/.test(block!)) continue
      good.push(`${good.length}-${document.replace('/', '-')}.mts`)
      writeFileSync(join(home.path, good.at(-1)!), block!)
    }
  assert.is(check(...good), '')
  assert.match(check('wrong.mts'), /^wrong\.mts\(2,\d+\): error TS2322/)
})

withTarball('the first program of README.md runs, and README.md says what the package weighs', () => {
  const [, program] = /^```ts\n([\s\S]*?)^```$/m.exec(read('README.md'))!
  assert.is(program!.trimEnd().split('\n').length, 5)
  writeFileSync(
    join(home.path, 'first.mjs'),
    program!.replace('train(adapter, data)', 'train(adapter, data, { maxSteps: 2 })'),
  )
  assert.match(home.run('node', 'first.mjs'), /accuracy/)
  assert.ok(readdirSync(join(home.path, 'my-adapter')).includes('adapter_model.safetensors'))
  const [, download, installed] = /(\d+) MB to download, (\d+) MB installed/.exec(read('README.md'))!
  const modules = join(home.path, 'node_modules')
  const files = readdirSync(modules, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  const bytes = files.reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
  // With fewer addons than a release has, it weighs less.
  const isSo = (over: number) => over < 1 && (over > -1 || !IS_RELEASE)
  assert.ok(isSo(packed.size / 1e6 - Number(download)), `${packed.size} bytes to download`)
  assert.ok(isSo(bytes / 1e6 - Number(installed)), `${bytes} bytes installed`)
})

// Settings that keep a documented command short; commands that need what is not here, or minutes: the latter have tests
// of their own.
const SHORT: Readonly<Record<string, readonly string[]>> = {
  train: ['--max-steps', '2', '--rows', '50', '--max-length', '64', '--no-evaluate-before'],
  quickstart: ['--max-steps', '2', '--rows', '50'],
}
const UNTRIED = [/--device cuda/, /^compare /, /^sweep /]

/** The command lines of a text: indented or fenced, without their comments. */
function commandsOf(text: string): string[] {
  const lines = [...text.matchAll(/^(?: {4})?npx lowrank (.*)$/gm)].map(match => match[1]!)
  return lines.map(line => line.replace(/\s+#.*$/, ''))
}

/** What the commands of README.md speak of. */
async function makeInputs(): Promise<void> {
  const sample = (name: string, rows: number) =>
    `${read(`assets/sample/${name}.jsonl`).split('\n').slice(0, rows).join('\n')}\n`
  mkdirSync(join(home.path, 'data'))
  for (const name of ['train', 'validation', 'test'])
    writeFileSync(join(home.path, 'data', `${name}.jsonl`), sample(name, 300))
  writeFileSync(join(home.path, 'questions.jsonl'), sample('train', 400))
  writeFileSync(join(home.path, 'new.jsonl'), sample('test', 40))
  writeFileSync(join(home.path, 'recipe.yaml'), 'data: questions.jsonl\nout: from-recipe\n')
  const link = (target: string, name: string) => symlinkSync(join(home.path, target), join(home.path, name))
  link('node_modules/lowrank/assets/encoder', 'bert-base-cased')
  writeJsonl(join(home.path, 'chat.jsonl'), capitals(40))
  const pairs = Array.from({ length: 40 }, (_, i) => ({ prompt: `say ${i % 4}`, completion: `it is ${i % 4}` }))
  writeJsonl(join(home.path, 'pairs.jsonl'), pairs)
  symlinkSync(await chatModelFolder(), join(home.path, 'SmolLM2-135M-Instruct'))
  symlinkSync(join(packageRoot, 'test/golden/gguf/blocks.gguf'), join(home.path, 'model-Q4_K_M.gguf'))
  symlinkSync(await seq2seqFolder(), join(home.path, 'flan-t5-small'))
  for (const name of ['adapter-a', 'adapter-b', 'dora-run']) link('lowrank-questions/adapter', name)
}

withTarball('the commands of README.md run in an empty folder', async () => {
  await makeInputs()
  const commands = commandsOf(read('README.md')).filter(line => !UNTRIED.some(pattern => pattern.test(line)))
  assert.ok(commands.length >= 8, `README.md has ${commands.length} commands`)
  for (const line of commands) {
    const words = [...line.matchAll(/"([^"]*)"|(\S+)/g)].map(match => match[1] ?? match[2]!)
    const args = ['node_modules/lowrank/dist/lib/cli/main.js', ...words, ...(SHORT[words[0]!] ?? [])]
    const options = { cwd: home.path, env: home.env, encoding: 'utf8', input: '' } as const
    const { status, stderr } = spawnSync(process.execPath, args, options)
    assert.is(status, 0, `lowrank ${line}: ${stderr}`)
  }
})

test.run()
