// Both sides of the MiniLM comparison in one table: means over seeds, differences, cost.
//   npm run bench:minilm-table -- RESULTS.jsonl…
// Takes the lines of bench/minilm.ts and bench/peers/minilm.py in any order, writes bench/results/minilm.json and
// prints the table of docs/results.md.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { check } from '../lib/errors.ts'
import { writeFileAtomic } from '../lib/io/atomic.ts'
import { packageRoot } from '../lib/io/package.ts'
import { deviation, machine, mean, round } from './machine.ts'

const OUTPUT = join(packageRoot, 'bench/results/minilm.json')
const METRICS = {
  seq: ['accuracy', 'macro_f1'],
  tok: ['precision', 'recall', 'f1', 'strict_f1'],
} as const
const DATA = { seq: 'banking77', tok: 'WNUT-17' } as const
type Task = keyof typeof DATA

/** What both sides print for a seed, as far as it is used here. */
interface Line {
  readonly side: 'lowrank' | 'peft'
  readonly task: Task
  /** Of products; the other side has f32 alone. */
  readonly compute?: 'f32' | 'bf16'
  readonly seed: number
  readonly test: Readonly<Record<string, number>>
  readonly cpu_s: number
  readonly rss_peak: number
}

interface Side {
  readonly side: string
  readonly task: Task
  readonly compute: string
  readonly seeds: readonly number[]
  readonly mean: Readonly<Record<string, number>>
  readonly sd: Readonly<Record<string, number>>
  /** CPU seconds of training a seed, evaluation apart. */
  readonly cpu: number
  /** MiB. */
  readonly rssPeak: number
}

function summarise(lines: readonly Line[]): Side[] {
  const keyOf = ({ task, side, compute = 'f32' }: Line) => JSON.stringify([task, side, compute])
  return [...new Set(lines.map(keyOf))].toSorted().map(key => {
    const own = lines.filter(line => keyOf(line) === key)
    const { side, task, compute = 'f32' } = own[0]!
    const over = (of: (values: readonly number[]) => number) =>
      Object.fromEntries(METRICS[task].map(name => [name, round(of(own.map(line => line.test[name]!)), 5)]))
    return {
      side,
      task,
      compute,
      seeds: own.map(line => line.seed),
      mean: over(mean),
      sd: over(deviation),
      cpu: round(mean(own.map(line => line.cpu_s)), 1),
      rssPeak: Math.max(...own.map(line => line.rss_peak)),
    }
  })
}

const show = ({ mean, sd, seeds }: Side, name: string) =>
  seeds.length > 1 ? `${mean[name]!.toFixed(4)} ± ${sd[name]!.toFixed(4)}` : mean[name]!.toFixed(4)

function table(sides: readonly Side[]): string {
  const lines = sides.flatMap(ours => {
    const peft = sides.find(other => other.side === 'peft' && other.task === ours.task)
    if (ours.side !== 'lowrank' || !peft) return []
    return METRICS[ours.task].map(name => {
      const difference = (ours.mean[name]! - peft.mean[name]!).toFixed(4)
      const what = [DATA[ours.task], ours.compute, name.replace('_', ' ')]
      return `| ${[...what, show(ours, name), show(peft, name), difference].join(' | ')} |`
    })
  })
  const costs = sides.map(({ side, task, compute, seeds, cpu, rssPeak }) => {
    const what = [DATA[task], side, compute, seeds.join(', ')]
    return `| ${[...what, cpu.toFixed(0), (rssPeak / 1024).toFixed(2)].join(' | ')} |`
  })
  return [
    '| data | lowrank products | test | lowrank | PEFT | difference |',
    '|---|---|---|--:|--:|--:|',
    ...lines,
    '',
    '| data | side | products | seeds | CPU s of training | peak GiB |',
    '|---|---|---|---|--:|--:|',
    ...costs,
  ].join('\n')
}

async function main(): Promise<void> {
  const files = process.argv.slice(2)
  check(files.length > 0, 'ERR_OPTION', () => 'bench:minilm-table: no file given; name the results of both sides')
  const lines = files.flatMap(file => {
    const rows = readFileSync(file, 'utf8').trim().split('\n')
    return rows.map(row => JSON.parse(row) as Line)
  })
  const sides = summarise(lines)
  await writeFileAtomic(OUTPUT, `${JSON.stringify({ machine: machine(), sides, lines }, null, 1)}\n`)
  console.log(table(sides))
}

await main()
