// Runs the tests: builds what they need and compiles TypeScript, then runs each dist/test/**/*.test.js and each native
// test in a process of its own.
//
// node scripts/test.mjs [--sanitize] [--jobs=2] [--no-build] [--without=PATH] [FILTER…]
// FILTER: part of a path, `test/ops` or `native`; --sanitize: against build-sanitize/, by default the op tests only.
// A test file may ask for other settings in its first lines: `// threads: 4`, `// timeout: 600` (seconds).
// A test that can't run here prints `skip: REASON` and returns. A file that contributes no test fails, and one that
// leaves something in the folder for temporary files: each has one of its own, see test/support/temporary.ts.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const flags = process.argv.slice(2).filter(arg => arg.startsWith('--'))
const sanitize = flags.includes('--sanitize')
const without = flags.find(flag => flag.startsWith('--without='))?.slice('--without='.length)
const jobs = Number(flags.find(flag => flag.startsWith('--jobs='))?.slice('--jobs='.length) ?? 2)
let filters = process.argv.slice(2).filter(arg => !arg.startsWith('--'))
if (sanitize && !filters.length) filters = ['native', 'test/ops/', 'test/autograd/', 'test/tensor', 'test/optim/']

const children = new Set()
for (const signal of ['SIGINT', 'SIGTERM'])
  process.on(signal, () => {
    for (const child of children) child.kill('SIGKILL')
    process.exit(130)
  })

function listed(dir, suffix) {
  if (!existsSync(join(root, dir))) return []
  return readdirSync(join(root, dir), { recursive: true })
    .filter(name => name.endsWith(suffix))
    .map(name => join(dir, name))
    .sort()
}

// Sources decide, not dist/: what is left there of a deleted test doesn't count.
function allTests() {
  const build = sanitize ? 'build-sanitize/build' : 'build'
  const uvu = listed('test', '.test.ts').map(source => {
    const head = readFileSync(join(root, source), 'utf8').slice(0, 600)
    const setting = (name, otherwise) => Number(head.match(new RegExp(`^// ${name}: (\\d+)`, 'm'))?.[1] ?? otherwise)
    const file = join('dist', source.replace(/\.ts$/, '.js'))
    const timeout = setting('timeout', 300) * (sanitize ? 4 : 1)
    return {
      name: source,
      command: [process.execPath, '--enable-source-maps', file],
      threads: setting('threads', 1),
      timeout,
    }
  })
  const native = listed('test/native', '_test.cpp').map(source => {
    const program = source.replace('test/native', `${build}/test`).replace(/\.cpp$/, '')
    const missing = existsSync(join(root, program)) ? undefined : `skip: ${program} is not built`
    return {
      name: source,
      command: [`./${program}`],
      threads: 2,
      timeout: sanitize ? 1200 : 300,
      native: true,
      missing,
    }
  })
  return [...native, ...uvu]
}

// Below it each test has its folder for temporary files, so that nothing is left whatever becomes of the tests.
const temporary = mkdtempSync(join(tmpdir(), 'lowrank-tests-'))
process.on('exit', () => rmSync(temporary, { recursive: true, force: true }))
let folders = 0

function environment(threads, folder) {
  // No test asks the hub of the internet.
  const own = { LOWRANK_THREADS: String(threads), FORCE_COLOR: '0', TMPDIR: folder, HF_HUB_OFFLINE: '1' }
  const env = { ...process.env, ...own }
  if (!sanitize) return env
  const library = name => spawnSync('g++', [`-print-file-name=${name}`], { encoding: 'utf8' }).stdout.trim()
  return {
    ...env,
    LOWRANK_PREBUILD: join(root, 'build-sanitize'),
    LD_PRELOAD: `${library('libasan.so')} ${library('libubsan.so')}`,
    // Node doesn't free everything at exit, and leaks of tensors are what native.live() is for.
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0:exitcode=99',
    UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1:exitcode=99',
  }
}

function run(test) {
  if (test.missing) return { output: test.missing, status: 0, left: [], seconds: 0 }
  const start = performance.now()
  return new Promise(resolve => {
    const [program, ...args] = test.command
    const folder = join(temporary, String(folders++))
    mkdirSync(folder)
    const env = environment(test.threads, folder)
    const child = spawn(program, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
    children.add(child)
    let output = ''
    let late = false
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, test.timeout * 1000)
    child.stdout.on('data', chunk => (output += chunk))
    child.stderr.on('data', chunk => (output += chunk))
    child.on('error', error => (output += error.message))
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      children.delete(child)
      if (late) output += `\ntimeout: more than ${test.timeout} s\n`
      else if (signal) output += `\nended by ${signal}\n`
      const left = readdirSync(folder)
      rmSync(folder, { recursive: true, force: true })
      resolve({ output, status: code ?? 1, left, seconds: (performance.now() - start) / 1000 })
    })
  })
}

// What a file contributes. Skips come from uvu's own count and from `skip:` lines, which uvu counts as passed.
function tally(test, { output, status, left: files }) {
  const skips = [...output.matchAll(/^[\s•]*skip: (.*)$/gm)].map(match => match[1])
  const total = name =>
    [...output.matchAll(new RegExp(`^ {2}${name}: +(\\d+)`, 'gm'))].reduce((sum, match) => sum + Number(match[1]), 0)
  const [ran, good, left] = test.native
    ? [1, status === 0 ? 1 : 0, 0]
    : [total('Total'), total('Passed'), total('Skipped')]
  const skipped = skips.length + left
  const passed = Math.max(0, good - skips.length)
  let failed = ran - good
  let problem = ''
  if (status !== 0 && failed === 0) problem = `exit status ${status}`
  else if (ran + skipped === 0) problem = 'contributes no test (does it call test.run()?)'
  else if (failed === 0 && files.length > 0) problem = `leaves ${files.join(', ')} in the folder for temporary files`
  if (problem) failed++
  return { passed, failed, skipped, skips, problem }
}

function report(test, result, counts) {
  const mark = counts.failed ? 'FAIL' : counts.passed ? 'ok  ' : 'skip'
  console.log(`${mark} ${test.name}  ${counts.passed} passed, ${result.seconds.toFixed(1)} s`)
  for (const reason of counts.skips) console.log(`     skip: ${reason}`)
  if (!counts.failed) return
  console.log(result.output.trimEnd())
  if (counts.problem) console.log(`${test.name}: ${counts.problem}`)
}

function compile(totals) {
  const build = ['scripts/build.mjs', ...(sanitize ? ['--sanitize'] : [])]
  const native = spawnSync(process.execPath, build, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 })
  if (native.status !== 0) {
    console.log(`FAIL native build\n${native.stdout.slice(-4000)}${native.stderr.slice(-4000)}`)
    totals.failed++
  }
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/build-ts.mjs'], {
    cwd: root,
    encoding: 'utf8',
  })
  if (status === 0) return
  console.log(`FAIL types\n${stdout}${stderr}`)
  totals.failed++
}

async function main() {
  const totals = { passed: 0, failed: 0, skipped: 0 }
  if (!flags.includes('--no-build')) compile(totals)
  const queue = allTests()
    .filter(test => !filters.length || filters.some(filter => test.name.includes(filter)))
    .filter(test => !without || !test.name.includes(without))
  if (!queue.length) {
    console.log(`FAIL no test matches ${filters.join(' ')}`)
    totals.failed++
  }
  const failures = []
  const worker = async () => {
    for (let test = queue.shift(); test; test = queue.shift()) {
      const result = await run(test)
      const counts = tally(test, result)
      report(test, result, counts)
      for (const key of Object.keys(totals)) totals[key] += counts[key]
      if (counts.failed) failures.push(test.name)
    }
  }
  await Promise.all(Array.from({ length: jobs }, worker))
  for (const name of failures) console.log(`failed: ${name}`)
  console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`)
  process.exitCode = totals.failed ? 1 : 0
}

await main()
