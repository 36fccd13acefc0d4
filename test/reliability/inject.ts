// Runs whose disk fails, at every change they make to it in turn: `npm run test:faults -- [--every N] NAME…`

import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { LowrankError } from '../../lib/errors.ts'
import { native } from '../../lib/native.ts'
import { readTree, type Tree, watchChanges, writeTree } from './fileSystem.ts'
import { goOn, leftovers, resultsOf, runLane, treasure } from './kill.ts'
import { type Case, runTrain, type Told } from './world.ts'

export const FAULTS = ['EIO', 'ENOSPC', 'EACCES', 'EMFILE'] as const

/** What became of all faults of a case. */
export interface Faulted {
  readonly faults: number
  /** Runs that went on, and runs that ended with a coded error. */
  readonly went: number
  readonly ended: number
  readonly problems: readonly string[]
}

interface Fault {
  readonly code: string
  /** The number of the change at which it comes, from 1. */
  readonly at: number
  /** It stays: every later change fails too. */
  readonly stays: boolean
}

/** A run with a fault; what was being done where it came, and what it led to. */
async function runWith(dir: string, args: readonly string[], { code, at, stays }: Fault, told: Told) {
  let [count, operation] = [0, '']
  const unwatch = watchChanges(
    dir,
    ({ name, path }) => {
      count++
      if (count !== at && !(stays && count > at)) return
      operation ||= `${name} ${path.slice(dir.length + 1)}`
      throw Object.assign(new Error(`${code}: injected, ${name} '${path}'`), { code, syscall: name, path })
    },
    { reads: true },
  )
  const error = await runTrain(args, told)
    .then(
      () => undefined,
      (thrown: unknown) => thrown,
    )
    .finally(unwatch)
  return { error, operation, count }
}

/** Puts each fault at every `every`-th change of a case, beginning with `from`. */
export async function faultEverywhere(dir: string, one: Case, every = 1, from = 0): Promise<Faulted> {
  const out = join(dir, 'out')
  const args = [...one.args, '--out', out]
  for (const folder of [out, join(dir, 'start')]) rmSync(folder, { recursive: true, force: true })
  if (one.start) await runTrain([...one.start, '--out', 'start'])
  if (one.earlier) await runTrain([...one.earlier, '--out', out])
  mkdirSync(out, { recursive: true })
  const before = readTree(out)
  const { count } = await runWith(dir, args, { code: '', at: -1, stays: false }, { warnings: [] })
  const whole = readTree(out)
  const problems: string[] = []
  let [faults, went, ended] = [0, 0, 0]
  for (let at = 1 + (from % every); at <= count; at += every) {
    const fault: Fault = { code: FAULTS[at % FAULTS.length]!, at, stays: (at >> 2) % 3 === 0 }
    writeTree(out, before)
    const live = native.live()
    const told: Told = { warnings: [] }
    const { error, operation } = await runWith(dir, args, fault, told)
    const fail = (what: string): void =>
      void problems.push(`${one.name}, ${fault.code} at ${at} "${operation}"${fault.stays ? ' for good' : ''}: ${what}`)
    faults++
    if (native.live() !== live) fail(`${native.live() - live} tensors are left`)
    if (error === undefined) went++
    else if (error instanceof LowrankError) ended++
    else fail(`an error without a code of its own: ${error}`)
    for (const what of await after(one, out, before, whole, error === undefined)) fail(what)
  }
  return { faults, went, ended, problems }
}

/** What is wrong with a folder after a run with a fault, and after the run that follows. */
async function after(one: Case, out: string, before: Tree, whole: Tree, isWhole: boolean): Promise<string[]> {
  const tree = readTree(out)
  const problems: string[] = []
  if (isWhole) problems.push(...differing(whole, tree))
  const held = treasure(tree)
  const kept = [before, whole].some(all => treasure(all).every(content => held.includes(content)))
  if (one.earlier && !kept) problems.push('neither the earlier adapter nor the new one is there')
  // The next run is another process: what this one could not remove is then that of a dead one.
  writeTree(
    out,
    new Map([...tree].map(([name, content]) => [name.replace(`-${process.pid}-`, '-999999999-'), content])),
  )
  try {
    await goOn(one.args, out)
  } catch (error) {
    return [...problems, `the next run: ${error}`]
  }
  const next = readTree(out)
  return [...problems, ...differing(whole, next), ...leftovers(next).map(name => `${name} is left`)]
}

function differing(expected: Tree, found: Tree): string[] {
  const [wanted, got] = [resultsOf(expected), resultsOf(found)]
  const names = new Set([...wanted.keys(), ...got.keys()])
  return [...names].filter(name => wanted.get(name) !== got.get(name)).map(name => `${name} differs`)
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await runLane('faults', async (...place) => {
    const { faults, went, ended, problems } = await faultEverywhere(...place)
    return { tried: faults, told: `${went} went on, ${ended} ended`, problems }
  })
