// Running the command line as a user does, on small data.

import { spawn, spawnSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from '../../lib/cli/program.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** What a finished command left. */
export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

// Compiled tests run the compiled program, tests from source run the source.
const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js'
const loader = extension === '.ts' ? ['--import', fileURLToPath(import.meta.resolve('tsx'))] : []

/** Path of a module of this package as it is run here, e.g. `examples/quick-api`. */
export function moduleFile(name: string): string {
  return fileURLToPath(new URL(`../../${name}${extension}`, import.meta.url))
}

export interface RunOptions {
  readonly cwd?: string
  readonly input?: string | Buffer
  readonly env?: Readonly<Record<string, string>>
  /** Called with what came on standard error so far; it may send a signal. */
  readonly watch?: (stderr: string, kill: (signal: NodeJS.Signals) => void) => void
  /** Closes standard output after so many bytes. */
  readonly closeAfter?: number
}

/** Starts a module with arguments. */
export function spawnModule(name: string, args: readonly string[], { cwd, env }: RunOptions = {}) {
  const variables = { ...process.env, LOWRANK_THREADS: '1', NO_COLOR: '', ...env }
  return spawn(process.execPath, [...loader, moduleFile(name), ...args], { cwd, env: variables })
}

/** Runs the command line with its standard output written to a file or device. */
export function cliInto(output: string, args: readonly string[], cwd: string): { code: number | null; stderr: string } {
  const file = openSync(output, 'w')
  const words = [...loader, moduleFile('lib/cli/main'), ...args]
  const ran = spawnSync(process.execPath, words, { cwd, encoding: 'utf8', stdio: ['ignore', file, 'pipe'] })
  closeSync(file)
  return { code: ran.status, stderr: ran.stderr }
}

/** Runs a module with arguments. */
export function runModule(name: string, args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  const child = spawnModule(name, args, options)
  let [stdout, stderr] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    if (options.closeAfter !== undefined && stdout.length >= options.closeAfter) child.stdout.destroy()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
    options.watch?.(stderr, signal => child.kill(signal))
  })
  child.stdin.on('error', () => undefined)
  child.stdin.end(options.input ?? '')
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', code => resolve({ code, stdout, stderr }))
  })
}

/** Runs the command line. */
export function cli(args: readonly string[], options: RunOptions = {}): Promise<Finished> {
  return runModule('lib/cli/main', args, options)
}

/** Runs the command line in this process, which saves the start of another; one at a time. */
export async function cliHere(args: readonly string[], cwd: string): Promise<Finished> {
  const { stdout, stderr } = process
  const [writes, before] = [[stdout.write, stderr.write] as const, process.cwd()]
  const text = { stdout: '', stderr: '' }
  const into = (name: 'stdout' | 'stderr') => (part: string | Uint8Array) => {
    text[name] += String(part)
    return true
  }
  ;[stdout.write, stderr.write] = [into('stdout'), into('stderr')]
  process.chdir(cwd)
  try {
    return { code: await run(args), ...text }
  } finally {
    process.chdir(before)
    ;[stdout.write, stderr.write] = writes
  }
}

/** A folder of its own that is removed when the process ends. */
export function workFolder(): string {
  const dir = temporaryFolder()
  process.on('exit', () => rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** JSON lines of a text. */
export function records(text: string): Record<string, unknown>[] {
  return text
    .trimEnd()
    .split('\n')
    .map(line => JSON.parse(line) as Record<string, unknown>)
}

const things = ['film', 'book', 'song', 'meal', 'trip', 'game', 'play', 'walk', 'house', 'street']
const praise = ['good', 'great', 'fine', 'happy', 'beautiful', 'excellent']
const blame = ['bad', 'poor', 'sad', 'ugly', 'terrible', 'wrong']

/** Reviews that are told apart by one word. */
export function reviews(rows: number): { text: string; label: string }[] {
  return Array.from({ length: rows }, (_, i) => {
    const words = i % 2 === 0 ? praise : blame
    const text = `the ${things[i % things.length]} was ${words[(i * 7) % words.length]}, number ${i}`
    return { text, label: i % 2 === 0 ? 'good' : 'bad' }
  })
}

/** Writes rows as JSON lines. */
export function writeJsonl(path: string, rows: readonly object[]): string {
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(path, rows.map(row => `${JSON.stringify(row)}\n`).join(''))
  return path
}
