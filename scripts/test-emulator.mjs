// Runs every kernel on the emulator of CUDA (docs/emulator.md), as one queue of processes.
//
// node scripts/test-emulator.mjs [--sanitize|--races[=defects|=pool]] [--seed=N] [--jobs=2] [FILTER]
// Copies as late and warps as skewed as CUDA allows, with three fixed seeds and one that changes with the commit; once
// with random order for both, and then in another order, which may change no bit. Seeds choose the schedule, and the
// shapes of the kernel cases. The op table runs through the addon. --sanitize: the programs of build-sanitize/, one
// seed. --races: under ThreadSanitizer, where clang is installed, two blocks at a time; it builds them in build-races/,
// of which the host's side is taken from build/; before them the CPU's pool of workers. =defects: the self-test alone;
// =pool: the workers alone. FILTER: part of a kernel case's name, those alone.

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const args = process.argv.slice(2)
const sanitize = args.includes('--sanitize')
const races = args.find(arg => arg.startsWith('--races'))
const option = name => args.find(arg => arg.startsWith(`--${name}=`))?.slice(name.length + 3)
const filter = args.find(arg => !arg.startsWith('--'))
const jobs = Number(option('jobs') ?? 2)
const programs = join(root, sanitize ? 'build-sanitize/build/emulator' : 'build/emulator')
const FIXED = [1, 2, 3]
const SHARDS = 4
const TIMEOUT = 300 // seconds a process

// A seed that differs from commit to commit, and can be repeated.
function varyingSeed() {
  if (option('seed')) return Number(option('seed'))
  const { status, stdout } = spawnSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' })
  return status === 0 ? 10 + (Number.parseInt(stdout.slice(0, 7), 16) % 1_000_000) : 10
}

const settings = (seed, schedule = 'skewed', async = 'late') => ({
  LOWRANK_EMU_SEED: String(seed),
  LOWRANK_EMU_SCHEDULE: schedule,
  LOWRANK_EMU_ASYNC: async,
})

// Every case once a process and shard, its shapes and data chosen by the same seed.
function kernelCases(name, seed, env, ...more) {
  return Array.from({ length: SHARDS }, (_, i) => ({
    name: `kernels ${i + 1}/${SHARDS}, ${name}`,
    command: [
      join(programs, 'emulator_kernels'),
      ...['--seeds', '1', '--first', String(seed), '--shard', `${i + 1}/${SHARDS}`],
      ...more,
      ...(filter ? [filter] : []),
    ],
    env,
  }))
}

const program = (name, seed) => ({
  name: `${name}, seed ${seed}`,
  command: [join(programs, `emulator_${name}`)],
  env: settings(seed),
})

// Files of uvu: they run the self-test with its first seeds, and the op table.
function typescript() {
  const files = readdirSync(join(root, 'test/emulator')).filter(name => name.endsWith('.test.ts'))
  return files.map(name => ({
    name: `test/emulator/${name}`,
    command: [process.execPath, 'scripts/test.mjs', '--no-build', '--jobs=1', `test/emulator/${name}`],
    env: settings(1),
    typescript: true,
  }))
}

// ---- ThreadSanitizer

/** The clang that can link a program for TSan, and how to run one without address space randomisation. */
function raceTools() {
  const works = (program, rest, input) =>
    spawnSync(program, rest, { input, stdio: ['pipe', 'ignore', 'ignore'] }).status === 0
  const names = ['clang++', ...[21, 20, 19, 18, 17, 16, 15, 14].map(version => `clang++-${version}`)]
  const link = ['-fsanitize=thread', '-x', 'c++', '-', '-o', '/dev/null']
  const clang = names.find(name => works(name, link, 'int main() {}'))
  return { clang, prefix: works('setarch', ['-R', 'true'], '') ? ['setarch', '-R'] : [] }
}

// The runs of the self-test would sleep a second each.
const TSAN_OPTIONS = 'halt_on_error=1:exitcode=66:history_size=2:atexit_sleep_ms=0'

function cmake(step) {
  const { status, stdout, stderr } = spawnSync('cmake', step, { cwd: root, encoding: 'utf8' })
  if (status !== 0) throw new Error(`cmake ${step.join(' ')}:\n${stdout}${stderr}`)
}

// The CPU's pool, for which any compiler will do.
function workersQueue({ prefix }) {
  cmake(['--build', 'build', '--target', 'parallel_races', '-j', String(jobs)])
  const command = [...prefix, join(root, 'build/test/parallel_races'), 'races']
  return [{ name: 'workers under ThreadSanitizer', command, env: { TSAN_OPTIONS } }]
}

function raceQueue({ clang, prefix }) {
  const selfTest = races === '--races=defects'
  const project = [`-DCMAKE_CXX_COMPILER=${clang}`, '-DCMAKE_BUILD_TYPE=None', `-DLOWRANK_BUILD=${join(root, 'build')}`]
  for (const step of [
    ['-S', 'test/emulator/races', '-B', 'build-races', ...project],
    ['--build', 'build-races', '-j', String(jobs), ...(selfTest ? ['--target', 'races_defects'] : [])],
  ])
    cmake(step)
  const env = {
    ...settings(1),
    LOWRANK_EMU_RESIDENT: '2',
    TSAN_OPTIONS,
  }
  const sharded = (name, ...more) =>
    Array.from({ length: SHARDS }, (_, i) => ({
      name: `${name} under ThreadSanitizer ${i + 1}/${SHARDS}`,
      command: [
        ...prefix,
        join(root, `build-races/races_${name}`),
        ...['--shard', `${i + 1}/${SHARDS}`, ...more],
        ...(filter ? [filter] : []),
      ],
      env,
    }))
  if (selfTest) return sharded('defects')
  const kernels = sharded('kernels', '--seeds', '1')
  return filter ? kernels : [...sharded('defects'), ...kernels]
}

function queue(varying) {
  const random = { name: 'random order', seed: varying + 1, env: settings(varying + 1, 'random', 'random') }
  const seeds = sanitize ? [1] : [...FIXED, varying]
  const kernels = seeds.flatMap(seed => kernelCases(`seed ${seed}`, seed, settings(seed)))
  if (!sanitize) {
    kernels.push(...kernelCases(random.name, random.seed, random.env, '--repeat', '2'))
    // A build without code for sm_90a on a device of capability 9.0: Hopper's kernels are traps, never to be launched.
    for (const generation of ['80', '90'])
      kernels.push(
        ...kernelCases(`code for sm_${generation}`, 1, { ...settings(1), LOWRANK_EMU_GENERATION: generation }),
      )
  }
  if (filter) return kernels
  if (sanitize) return [program('conformance', 1), ...kernels]
  return [...typescript(), ...[2, 3, varying].map(seed => program('conformance', seed)), ...kernels]
}

const children = new Set()
for (const signal of ['SIGINT', 'SIGTERM'])
  process.on(signal, () => {
    for (const child of children) child.kill('SIGKILL')
    process.exit(130)
  })

function run(job) {
  const start = performance.now()
  return new Promise(resolve => {
    const [file, ...rest] = job.command
    const env = { ...process.env, LOWRANK_THREADS: '1', FORCE_COLOR: '0', ...job.env }
    const child = spawn(file, rest, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'] })
    children.add(child)
    let output = ''
    const timer = setTimeout(() => {
      output += `\ntimeout: more than ${TIMEOUT} s\n`
      child.kill('SIGKILL')
    }, TIMEOUT * 1000)
    for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => (output += chunk))
    child.on('error', error => (output += error.message))
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      children.delete(child)
      if (signal) output += `\nended by ${signal}\n`
      resolve({ output, status: code ?? 1, seconds: (performance.now() - start) / 1000 })
    })
  })
}

// The programs end with `N passed, N failed[, N skipped]`; defects with what it caught.
function tally({ output, status }) {
  const last = output.trimEnd().split('\n').at(-1) ?? ''
  const counted = last.match(/^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/)
  const caught = last.match(/(\d+) kernels sound, (\d+) defects caught, \d+ known misses, (\d+) failed$/)
  let [passed, failed, skipped] = [0, 0, 0]
  if (counted) [passed, failed, skipped] = counted.slice(1).map(number => Number(number ?? 0))
  else if (caught) [passed, failed] = [Number(caught[1]) + Number(caught[2]), Number(caught[3])]
  if (status !== 0 && failed === 0) failed = 1
  return { passed, failed, skipped }
}

function report(job, result, counts) {
  console.log(`${counts.failed ? 'FAIL' : 'ok  '} ${job.name}  ${counts.passed} passed, ${result.seconds.toFixed(1)} s`)
  if (!counts.failed) {
    for (const [line] of result.output.matchAll(/^\s*skip: .*$/gm)) console.log(`     ${line.trim()}`)
    return
  }
  const lines = result.output.trimEnd().split('\n')
  console.log(lines.filter(line => !/^(ok|miss) /.test(line)).join('\n'))
  const variables = job.env ? Object.entries(job.env).map(([name, value]) => `${name}=${value} `) : []
  console.log(`repeat: ${variables.join('')}${job.command.join(' ').replaceAll(`${root}/`, '').replaceAll(root, '')}`)
}

async function main() {
  const totals = { passed: 0, failed: 0, skipped: 0 }
  if (races !== '--races=pool' && !existsSync(join(programs, 'emulator_kernels'))) {
    console.log(`FAIL ${programs}: emulator_kernels is not built; npm run build:native`)
    console.log('0 passed, 1 failed, 0 skipped')
    process.exitCode = 1
    return
  }
  const varying = varyingSeed()
  console.log(`seeds ${FIXED.join(', ')} and, of this commit, ${varying}; repeat with --seed=${varying}`)
  let waiting = []
  if (races) {
    const tools = raceTools()
    if (races !== '--races=defects' && !filter) waiting = workersQueue(tools)
    if (races !== '--races=pool' && tools.clang) waiting.push(...raceQueue(tools))
    else if (races !== '--races=pool') {
      console.log('skip: no clang that links for ThreadSanitizer')
      totals.skipped++
    }
  } else waiting = queue(varying)
  const worker = async () => {
    for (let job = waiting.shift(); job; job = waiting.shift()) {
      const result = await run(job)
      const counts = tally(result)
      report(job, result, counts)
      for (const key of Object.keys(totals)) totals[key] += counts[key]
    }
  }
  await Promise.all(Array.from({ length: jobs }, worker))
  if (!totals.failed && !totals.passed && !totals.skipped) totals.failed = 1
  console.log(`${totals.passed} passed, ${totals.failed} failed, ${totals.skipped} skipped`)
  process.exitCode = totals.failed ? 1 : 0
}

await main()
