// Kills runs at every change that they make to their folder, and goes on with each:
// `npm run test:kill -- [--every N] NAME…`
//
// A process that is killed leaves the files as its last change left them, so one run that notes what its folder holds
// before each change (and in the middle of each write) stands for all kills. Each of these states is then put in place,
// and the run is continued as a user would: with --resume, or anew where that says that there is nothing to resume.

import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { deserialize } from 'node:v8'
import { LowrankError } from '../../lib/errors.ts'
import { type Finished, runModule } from '../cli/support.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { readTree, type Tree, writeTree } from './fileSystem.ts'
import { CASES, type Case, makeWorld, runTrain } from './world.ts'

/** A folder as a kill left it. */
export interface Left {
  readonly operation: string
  readonly tree: Tree
}

/** What became of all kills of a case. */
export interface Killed {
  readonly states: number
  readonly resumed: number
  /** A line for each kill that did not end as it should. */
  readonly problems: readonly string[]
}

/** A folder with bases and data, which is the working directory until it is left. */
export async function enterWorld(): Promise<{ dir: string; leave(): void }> {
  const before = process.cwd()
  const dir = temporaryFolder()
  await makeWorld(dir)
  process.chdir(dir)
  const leave = (): void => {
    process.chdir(before)
    rmSync(dir, { recursive: true, force: true })
  }
  return { dir, leave }
}

const child = (args: readonly string[]): Promise<Finished> =>
  runModule('test/reliability/killChild', args, { env: { LOWRANK_THREADS: '1' } })

/** Every state in which a kill could leave `out`, begun as it is; the last is that of the whole run. */
export async function record(dir: string, out: string, args: readonly string[]): Promise<Left[]> {
  const file = join(dir, 'record')
  const { code, stderr } = await child([out, file, '0', ...args, '--out', out])
  if (code !== 0) throw new Error(`the recorded run ended with ${code}: ${stderr}`)
  const { contents, trees } = deserialize(readFileSync(file)) as {
    contents: Buffer[]
    trees: { operation: string; files: [string, number][] }[]
  }
  const left = trees.map(({ operation, files }) => {
    return { operation, tree: new Map(files.map(([path, i]) => [path, i < 0 ? null : Buffer.from(contents[i]!)])) }
  })
  rmSync(file)
  return left
}

/** Really kills a run at a change; its folder is as the kill left it. */
export async function killAt(out: string, args: readonly string[], change: number): Promise<void> {
  const { code, stderr } = await child([out, '-', String(change), ...args, '--out', out])
  if (code !== null) throw new Error(`the run was not killed: ${code} ${stderr}`)
}

const volatile = /^(seconds|peakBytes|processBytes|resume|overwrite|tokensPerSecond|.*_runtime|.*_samples_per_second)$/

/** The results of a run: bytes, but for times and memory. */
export function resultsOf(tree: Tree): Map<string, string> {
  const results = new Map<string, string>()
  for (const [path, content] of tree) {
    if (content === null || !/^(adapter|model|metrics\.json|predictions\.jsonl)/.test(path)) continue
    results.set(path, path === 'metrics.json' ? timeless(content.toString()) : content.toString('latin1'))
  }
  return results
}

const timeless = (text: string): string =>
  JSON.stringify(JSON.parse(text, (key, value: unknown) => (volatile.test(key) ? undefined : value)))

/** Continues what lies in a folder as a user would; whether it was resumed. */
export async function goOn(args: readonly string[], out: string): Promise<boolean> {
  const rest = args.filter(arg => arg !== '--overwrite')
  try {
    await runTrain([...rest, '--out', out, '--resume'])
    return true
  } catch (error) {
    const nothing = error instanceof LowrankError && error.code === 'ERR_CHECKPOINT' && /^resume: /.test(error.message)
    if (!nothing) throw error
    await runTrain([...args, '--out', out])
    return false
  }
}

/** What no run may leave when it has ended. */
export const leftovers = (tree: Tree): string[] =>
  [...tree.keys()].filter(name => /\.(tmp|old)-|lowrank-(lock|next|write)/.test(name))

/** What a folder holds that it should not, or lacks, after a run. */
function differences(expected: Tree, found: Tree): string[] {
  const [wanted, got] = [resultsOf(expected), resultsOf(found)]
  const names = new Set([...wanted.keys(), ...got.keys()])
  const other = [...names].filter(name => wanted.get(name) !== got.get(name))
  return [...leftovers(found).map(name => `${name} is left`), ...other.map(name => `${name} differs`)]
}

/** The files of an earlier run that must be found somewhere as long as no newer ones are complete. */
export const treasure = (tree: Tree): string[] =>
  [...tree].flatMap(([path, content]) =>
    /(^|\/)(adapter|model)\/[^/]*\.safetensors$/.test(path) ? [content!.toString('latin1')] : [],
  )

/** Kills a case at every `every`-th state, beginning with `from`. */
export async function killEverywhere(dir: string, one: Case, every = 1, from = 0): Promise<Killed> {
  const out = join(dir, 'out')
  for (const folder of [out, join(dir, 'start')]) rmSync(folder, { recursive: true, force: true })
  if (one.start) await runTrain([...one.start, '--out', 'start'])
  if (one.earlier) await runTrain([...one.earlier, '--out', out])
  mkdirSync(out, { recursive: true })
  const earlier = treasure(readTree(out))
  const states = await record(dir, out, one.args)
  const whole = states.at(-1)!.tree
  const problems: string[] = []
  const chosen = states.filter((_, i) => i % every === from % every || i === states.length - 1)
  let resumed = 0
  for (const { operation, tree } of chosen) {
    const fail = (what: string): void => void problems.push(`${one.name}, killed at "${operation}": ${what}`)
    const held = treasure(tree)
    const kept = [earlier, treasure(whole)].some(all => all.every(content => held.includes(content)))
    if (one.earlier && !kept) fail('neither the earlier adapter nor the new one is there')
    writeTree(out, tree)
    try {
      if (await goOn(one.args, out)) resumed++
      for (const problem of differences(whole, readTree(out))) fail(problem)
    } catch (error) {
      fail(String(error))
    }
  }
  return { states: chosen.length, resumed, problems }
}

/**
 * A lane run by command: all cases, or those whose names hold one of the words given; each place, or every N-th from
 * one that differs by case. `everywhere` tries one case and says how much it tried, in words too, and what was wrong.
 */
export async function runLane(
  what: string,
  everywhere: (
    dir: string,
    one: Case,
    every: number,
    from: number,
  ) => Promise<{ tried: number; told: string; problems: readonly string[] }>,
): Promise<void> {
  const { values, positionals: words } = parseArgs({
    options: { every: { type: 'string', default: '1' } },
    allowPositionals: true,
  })
  const { dir, leave } = await enterWorld()
  let [all, failed] = [0, 0]
  for (const [place, one] of CASES.entries()) {
    if (words.length > 0 && !words.some(word => one.name.includes(word))) continue
    const { tried, told, problems } = await everywhere(dir, one, Number(values.every), place)
    for (const problem of problems) console.log(problem)
    console.log(`${one.name}: ${tried} ${what}, ${told}, ${problems.length} problems`)
    all += tried
    failed += problems.length
  }
  leave()
  console.log(`${all} ${what}, ${failed} problems`)
  process.exitCode = failed ? 1 : 0
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await runLane('kills', async (...place) => {
    const { states, resumed, problems } = await killEverywhere(...place)
    return { tried: states, told: `${resumed} resumed`, problems }
  })
