// What a measurement ran on, and what it used.

import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { native } from '../lib/native.ts'

/** Where a result comes from; no names of hosts or people. */
export interface Machine {
  readonly cpu: string
  readonly cores: number
  readonly memoryGiB: number
  readonly isa: string
  readonly node: string
  /** Of this repository; `+` where tracked files differ from it. */
  readonly commit: string
  readonly date: string
}

/** The machine, the moment and the source of a result. */
export function machine(): Machine {
  const [family, model] = ['cpu family', 'model'].map(field => cpuInfo(field))
  const name = cpus()[0]?.model.trim() ?? 'unknown'
  return {
    cpu: family ? `${name} (family ${family}, model ${model})` : name,
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    isa: native.info().isa,
    node: process.version,
    commit: commit(),
    date: new Date().toISOString().slice(0, 10),
  }
}

function cpuInfo(field: string): string | undefined {
  try {
    return new RegExp(`^${field}\\s*: (.*)$`, 'm').exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]
  } catch {
    return undefined
  }
}

function git(...args: string[]): string {
  return spawnSync('git', args, { encoding: 'utf8' }).stdout?.trim() ?? ''
}

/** LOWRANK_COMMIT names the commit where the sources lie outside a repository. */
function commit(): string {
  const head = process.env.LOWRANK_COMMIT ?? git('rev-parse', '--short', 'HEAD')
  const built = ['lib', 'core', 'cpu', 'binding', 'CMakeLists.txt']
  const dirty = process.env.LOWRANK_COMMIT ? '' : git('status', '--porcelain', '-uno', '--', ...built)
  return (head || 'unknown') + (dirty ? '+' : '')
}

/** A field of the process's memory, MiB: VmRSS (now) or VmHWM (the peak). NaN where the system has no /proc. */
export function resident(field: 'VmRSS' | 'VmHWM'): number {
  try {
    return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync('/proc/self/status', 'utf8'))![1]) / 1024
  } catch {
    return Number.NaN
  }
}

/** Sets the peak of resident memory back to what is resident now, where the system allows it. */
export function resetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5')
  } catch {
    console.error('peak memory includes what came before: /proc/self/clear_refs is not writable')
  }
}

/** CPU seconds of this process, all threads, user and system. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** Rounded to so many decimals. */
export const round = (value: number, digits = 4) => Number(value.toFixed(digits))

/** The middle one, of an even count the upper. */
export const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!

export const mean = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length

/** Sample standard deviation; 0 for one value. */
export function deviation(values: readonly number[]): number {
  const centre = mean(values)
  const squares = values.reduce((sum, x) => sum + (x - centre) ** 2, 0)
  return values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0
}
