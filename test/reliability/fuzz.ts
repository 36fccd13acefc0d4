// Files as strangers may write them: each is read, or is a coded error, soon and in little memory.
//
// npm run fuzz -- --count 100000 [--seed N] [--reader PART OF A NAME] [--only N]
// Readers run in processes of their own: one that hangs, aborts or grows is told like any other fault. --only makes one
// mutation again and shows its error.

import { type ChildProcess, spawn } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { LowrankError } from '../../lib/errors.ts'
import { random } from '../../lib/random.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { READERS, type Reader } from './readers.ts'
import { makeWorld } from './world.ts'

/** Milliseconds for one file, and bytes that the process may have. */
const SLOWEST = 20_000
const LARGEST = 2 * 2 ** 30
const LONGEST_MESSAGE = 4100

/** What became of the mutations of one reader. */
export interface Fuzzed {
  readonly read: number
  readonly refused: number
  /** A line for each that ended otherwise. */
  readonly problems: readonly string[]
}

/** A folder with what readers need, which is the working directory until it is left. */
export async function enterFuzz(): Promise<() => void> {
  const before = process.cwd()
  const dir = temporaryFolder()
  await makeWorld(dir)
  process.chdir(dir)
  return () => {
    process.chdir(before)
    rmSync(dir, { recursive: true, force: true })
  }
}

/** Mutations `from` to `to` of a reader; `told` hears of each before it is read. */
export async function fuzz(
  reader: Reader,
  seed: number,
  from: number,
  to: number,
  told?: (i: number) => void,
): Promise<Fuzzed> {
  const [whole, changed] = ['whole', 'changed']
  for (const folder of [whole, changed]) rmSync(folder, { recursive: true, force: true })
  mkdirSync(whole)
  await reader.prepare(join(process.cwd(), whole))
  // `prepare` may write paths down, so what it made is read where it was made.
  const dir = join(process.cwd(), whole)
  cpSync(whole, changed, { recursive: true })
  const sound = reader.files.map(file => readFileSync(join(dir, file)))
  // A file that is refused as it is would be refused whatever is done to it.
  await reader.read(dir)
  const problems: string[] = []
  let [read, refused] = [0, 0]
  for (let i = from; i < to; i++) {
    told?.(i)
    const rng = random(seed, 'fuzz', reader.name, i)
    const at = rng.below(sound.length)
    rmSync(whole, { recursive: true, force: true })
    cpSync(changed, whole, { recursive: true })
    writeFileSync(join(dir, reader.files[at]!), reader.mutate(sound[at]!, rng, sound))
    const started = performance.now()
    try {
      await reader.read(dir)
      read++
    } catch (error) {
      if (error instanceof LowrankError && error.message.length <= LONGEST_MESSAGE) refused++
      else problems.push(`${reader.name} ${i}: ${String((error as Error)?.stack ?? error).slice(0, 600)}`)
    }
    const took = performance.now() - started
    if (took > SLOWEST) problems.push(`${reader.name} ${i}: took ${(took / 1000).toFixed(1)} s`)
    const { rss } = process.memoryUsage()
    if (rss > LARGEST) throw new Error(`${reader.name} ${i}: the process has ${(rss / 2 ** 20).toFixed(0)} MiB`)
  }
  for (const folder of [whole, changed]) rmSync(folder, { recursive: true, force: true })
  return { read, refused, problems }
}

interface Totals {
  read: number
  refused: number
  problems: string[]
}

/** A process for one reader; whatever ends it early is a problem of the mutation it was at, and the next goes on. */
async function inProcess(reader: Reader, seed: number, count: number): Promise<Totals> {
  const totals: Totals = { read: 0, refused: 0, problems: [] }
  for (let from = 0; from < count; ) {
    const child = spawn(
      process.execPath,
      [
        ...process.execArgv,
        '--max-old-space-size=1024',
        fileURLToPath(import.meta.url),
        '--child',
        reader.name,
        String(seed),
        String(from),
        String(count),
      ],
      { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, LOWRANK_THREADS: '1' } },
    )
    from = await follow(child, reader, from, count, totals)
  }
  return totals
}

/** Follows a child to its end; from where to go on. */
async function follow(
  child: ChildProcess,
  reader: Reader,
  from: number,
  count: number,
  totals: Totals,
): Promise<number> {
  let [at, beat, done, stderr] = [from, Date.now(), false, '']
  child.stderr!.on('data', chunk => (stderr = (stderr + chunk).slice(-2000)))
  const watchdog = setInterval(() => {
    if (Date.now() - beat > 3 * SLOWEST) child.kill('SIGKILL')
  }, 1000)
  for await (const line of createInterface({ input: child.stdout! })) {
    beat = Date.now()
    if (!line.startsWith('{')) {
      at = Number(line)
      continue
    }
    const found = JSON.parse(line) as Fuzzed
    totals.read += found.read
    totals.refused += found.refused
    totals.problems.push(...found.problems)
    done = true
  }
  clearInterval(watchdog)
  if (done) return count
  totals.problems.push(
    `${reader.name} ${at}: the process ended (${child.signalCode ?? child.exitCode}) ${stderr.slice(-600)}`,
  )
  return at + 1
}

async function child([name, seed, from, to]: readonly string[]): Promise<void> {
  const leave = await enterFuzz()
  const reader = READERS.find(each => each.name === name)!
  const found = await fuzz(reader, Number(seed), Number(from), Number(to), i => console.log(i))
  console.log(JSON.stringify(found))
  leave()
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      count: { type: 'string', default: '10000' },
      seed: { type: 'string', default: '1' },
      reader: { type: 'string', default: '' },
      only: { type: 'string' },
    },
  })
  const readers = READERS.filter(({ name }) => name.includes(values.reader))
  if (values.only !== undefined) return once(readers[0]!, Number(values.seed), Number(values.only))
  const shares = readers.reduce((sum, { share = 1 }) => sum + share, 0)
  let [all, failed] = [0, 0]
  for (const reader of readers) {
    const count = Math.ceil((Number(values.count) * (reader.share ?? 1)) / shares)
    const { read, refused, problems } = await inProcess(reader, Number(values.seed), count)
    for (const problem of problems) console.log(problem)
    console.log(`${reader.name}: ${count} files, ${read} read, ${refused} refused, ${problems.length} problems`)
    all += count
    failed += problems.length
  }
  console.log(`${all} files, ${failed} problems (seed ${values.seed})`)
  process.exitCode = failed ? 1 : 0
}

async function once(reader: Reader, seed: number, i: number): Promise<void> {
  const leave = await enterFuzz()
  console.log(await fuzz(reader, seed, i, i + 1))
  leave()
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv[2] === '--child') await child(process.argv.slice(3))
  else await main()
}
