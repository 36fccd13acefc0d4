// Where no addon fits: what needs none works, all else is one coded error; and what a build from source says it lacks.

import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { native } from '../../lib/native.ts'
import { temporaryFolder } from '../support/temporary.ts'

const folder = temporaryFolder()

const installed = join(folder, 'lowrank')
const MAIN = join(installed, 'dist/lib/cli/main.js')
const ready = existsSync(join(packageRoot, 'dist/lib/cli/main.js'))

/** The package without an addon, its dependencies beside it. */
function install(): void {
  if (!ready) return
  mkdirSync(installed)
  for (const name of ['package.json', 'scripts', 'dist/lib'])
    cpSync(join(packageRoot, name), join(installed, name), { recursive: true })
  for (const name of ['node_modules', 'assets']) symlinkSync(join(packageRoot, name), join(installed, name))
}
install()

interface Ran {
  status: number | null
  stdout: string
  stderr: string
}

function node(args: readonly string[], env: NodeJS.ProcessEnv = {}): Ran {
  const { LOWRANK_PREBUILD, ...own } = process.env
  return spawnSync(process.execPath, args, { cwd: folder, encoding: 'utf8', env: { ...own, ...env } })
}

const skip = () => console.log('skip: dist/lib is not compiled')
// What the error has to name: platform, C library, what there is, and the cure.
const ERROR =
  process.platform === 'linux'
    ? new RegExp(`none fits .*${process.platform}-${process.arch}, (glibc \\d|musl).*npx lowrank build`)
    : /none fits .*npx lowrank build/

test('--help, doctor and inspect data need no addon', () => {
  if (!ready) return skip()
  const help = node([MAIN, '--help'])
  assert.is(help.status, 0, help.stderr)
  assert.match(help.stdout, 'lowrank train')

  writeFileSync(join(folder, 'rows.jsonl'), '{"text":"good","label":"yes"}\n{"text":"bad","label":"no"}\n')
  const inspect = node([MAIN, 'inspect', 'data', 'rows.jsonl'])
  assert.is(inspect.status, 0, inspect.stderr)
  assert.match(inspect.stdout, '2 rows')

  const doctor = node([MAIN, 'doctor'])
  assert.is(doctor.status, 1)
  assert.match(doctor.stdout, /^addon +none fits this machine$/m)
  assert.match(doctor.stdout, /^encoder /m)
  assert.is(doctor.stderr.trimEnd().split('\n').length, 1, doctor.stderr)
  assert.match(doctor.stderr, ERROR)
  const found = JSON.parse(node([MAIN, 'doctor', '--json']).stdout.trim().split('\n').at(-1)!)
  assert.is(found.addon, null)
  assert.is(found.ok, false)
  assert.match(found.problem, ERROR)
})

test('importing the package is one coded error, and so is every command that computes', () => {
  if (!ready) return skip()
  const entry = pathToFileURL(join(installed, 'dist/lib/index.js')).href
  const caught = node(['-e', `import('${entry}').catch(error => console.log(JSON.stringify(error), error.message))`])
  assert.match(caught.stdout, '"code":"ERR_ADDON"')
  assert.match(caught.stdout, ERROR)
  const rest = ['data', 'tokenizer', 'metrics'].map(
    name => pathToFileURL(join(installed, `dist/lib/api/${name}.js`)).href,
  )
  const script = `const [{ toRow }, , { accuracy }] = await Promise.all(${JSON.stringify(rest)}.map(url => import(url)))
    console.log(toRow({ text: 'a' }, 1).line, accuracy([1], [1]))`
  assert.is(node(['--input-type=module', '-e', script]).stdout, '1 1\n')

  const train = node([MAIN, 'train', 'rows.jsonl', '--quiet'])
  assert.is(train.status, 1)
  assert.is(train.stderr.trimEnd().split('\n').length, 1, train.stderr)
  assert.match(train.stderr, /^error ERR_ADDON: addon: none fits/)
  assert.match(train.stderr, ERROR)
})

test('an addon that cannot be loaded is named with the reason', () => {
  if (!ready) return skip()
  const broken = join(folder, 'broken/build/Release')
  mkdirSync(broken, { recursive: true })
  writeFileSync(join(broken, 'lowrank.node'), 'not a library')
  const { status, stderr } = node([MAIN, 'train', 'rows.jsonl', '--quiet'], {
    LOWRANK_PREBUILD: join(folder, 'broken'),
  })
  assert.is(status, 1)
  assert.match(stderr, /lowrank\.node cannot be loaded: .+; build it from source/)
})

test('lowrank build says everything it lacks at once', () => {
  if (!ready) return skip()
  const alone = join(folder, 'alone')
  mkdirSync(join(alone, 'node_modules'), { recursive: true })
  cpSync(installed, join(alone, 'node_modules/lowrank'), {
    recursive: true,
    filter: path => !path.endsWith('/node_modules'),
  })
  const { dependencies } = JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8'))
  for (const name of Object.keys(dependencies)) {
    mkdirSync(join(alone, 'node_modules', name, '..'), { recursive: true })
    symlinkSync(join(packageRoot, 'node_modules', name), join(alone, 'node_modules', name))
  }
  const { status, stderr } = node([join(alone, 'node_modules/lowrank/dist/lib/cli/main.js'), 'build'], { PATH: alone })
  assert.is(status, 1)
  for (const lack of ['CMake 3.22', 'C++17 compiler', 'make or ninja', 'cmake-js, node-addon-api, node-api-headers'])
    assert.match(stderr, lack)
  assert.match(stderr, /npm install --save-dev "cmake-js@\S+" "node-addon-api@\S+"/)
  assert.match(stderr, /^error ERR_ADDON: build: /m)
})

test('the addon stands where the trap was after the first call', () => {
  assert.type(native.live(), 'number')
  assert.is(Object.getPrototypeOf(native).live, native.live)
})

test.run()
