// One training step, this project beside PyTorch + PEFT: alternating fresh processes, fewest CPU seconds.
//   npm run bench:compare -- --python PYTHON [--decoders] [--rounds 3] [--steps 3] [--warm 1] [--rows all/fp32] [--add]
//     [--to FILE]
// PYTHON has the packages that bench/peers/README.md names. Writes bench/results/step-cpu.json and puts the table
// between <!-- bench:step --> and <!-- /bench:step --> of README.md, or prints it where README.md has no such lines.
// --decoders: language models in place of bert-base, into step-decoders-cpu.json; the table is printed.
// --add keeps the runs that the file holds already: the minimum of all counts. --to names another file, for another
// processor, and prints the table.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { extname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { check, fail } from '../lib/errors.ts'
import { writeFileAtomic } from '../lib/io/atomic.ts'
import { packageRoot } from '../lib/io/package.ts'
import { type Machine, machine, median, round } from './machine.ts'

const PEER = join(packageRoot, 'bench/peers/train_step.py')
const README = join(packageRoot, 'README.md')
const MARKERS = ['<!-- bench:step -->', '<!-- /bench:step -->'] as const

/** What the peer is asked for, by the name it has in the results. */
const PEERS = {
  fp32: ['--dtype', 'fp32'],
  autocast: ['--dtype', 'autocast'],
  bf16w: ['--dtype', 'bf16w'],
  'bf16w, adapters bf16': ['--dtype', 'bf16w', '--adapters', 'bf16'],
} as const
type Peer = keyof typeof PEERS
const OURS = 'lowrank'

interface Row {
  readonly name: string
  readonly title: string
  readonly case: string
  readonly method: string
  readonly dtype: 'fp32' | 'bf16' | 'nf4'
  readonly checkpoint: boolean
  /** None: our side alone. */
  readonly peers: readonly Peer[]
}

const BF16: readonly Peer[] = ['autocast', 'bf16w', 'bf16w, adapters bf16']

const BERT: readonly Row[] = (
  [
    ['all', 'fp32', 'LoRA, all linear layers', ['fp32']],
    ['all', 'bf16', 'LoRA, all linear layers', BF16],
    ['qv', 'fp32', 'LoRA, query and value', ['fp32']],
    ['full', 'fp32', 'full fine-tuning', ['fp32']],
    ['fwd', 'fp32', 'forward only', ['fp32']],
    ['fwd', 'bf16', 'forward only', ['autocast', 'bf16w']],
  ] as const
).map(([method, dtype, title, peers]) => {
  return { name: `${method}/${dtype}`, case: 'bert', method, dtype, title, peers, checkpoint: false }
})

/** LoRA on all linear layers of language models. */
const DECODERS: readonly Row[] = (
  [
    ['gpt2', 'gpt2, 4 x 256'],
    ['tiny-llama', 'tiny Llama, 8 x 256'],
    ['qwen2.5-0.5b', 'Qwen2.5-0.5B, 1 x 512'],
    ['smollm2', 'SmolLM2-135M, 2 x 512'],
  ] as const
).flatMap(([name, title]): Row[] => {
  const row = { case: name, method: 'all', title, checkpoint: false }
  const again = { ...row, title: `${title}, checkpointed`, checkpoint: true }
  return [
    { ...row, name: `${name}/fp32`, dtype: 'fp32', peers: ['fp32'] },
    { ...row, name: `${name}/bf16`, dtype: 'bf16', peers: BF16 },
    ...(name === 'qwen2.5-0.5b'
      ? ([
          { ...again, name: `${name}/checkpoint/fp32`, dtype: 'fp32', peers: ['fp32'] },
          { ...again, name: `${name}/checkpoint/bf16`, dtype: 'bf16', peers: [] },
          { ...row, name: `${name}/nf4`, dtype: 'nf4', peers: [] },
          { ...again, name: `${name}/checkpoint/nf4`, dtype: 'nf4', peers: [] },
        ] as const)
      : []),
  ]
})

/** One process: a line of either script, with what it was. */
interface Run {
  readonly row: string
  /** `lowrank`, or the peer's name in PEERS. */
  readonly side: string
  readonly machine: Machine
  readonly line: {
    readonly cpu_min: number
    readonly step_med: number
    readonly step_min: number
    readonly rss_peak: number
    readonly threads: number
    readonly load: number
    /** CPU seconds over what the products take at the processor's peak (floor.ts). */
    readonly over_floor?: number
    readonly versions?: Record<string, string>
  }
}

/** The best of a side's processes. */
interface Summary {
  readonly row: string
  readonly side: string
  readonly processes: number
  /** Fewest CPU seconds of a step, of all processes. */
  readonly cpu_min: number
  /** Least of the processes' median step times, wall seconds. */
  readonly step_med: number
  /** Median of the processes' peaks of resident memory, MiB. */
  readonly rss_peak: number
  /** Least CPU seconds over the products' floor; absent where no run measured the peak, as the peer's do not. */
  readonly over_floor?: number
}

const { values: options } = parseArgs({
  options: {
    python: { type: 'string' },
    decoders: { type: 'boolean', default: false },
    rounds: { type: 'string', default: '3' },
    steps: { type: 'string', default: '3' },
    warm: { type: 'string', default: '1' },
    threads: { type: 'string', default: '2' },
    rows: { type: 'string' },
    add: { type: 'boolean', default: false },
    to: { type: 'string' },
  },
})

const ROWS = options.decoders ? DECODERS : BERT
const OUTPUT = options.to ?? join(packageRoot, `bench/results/step-${options.decoders ? 'decoders-' : ''}cpu.json`)

function launch(command: string, args: readonly string[]): Run['line'] {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 2 ** 24 })
  if (error) fail('ERR_OPTION', `bench:compare: cannot start ${command}: ${error.message}`, error)
  check(status === 0, 'ERR_DATA', () => `bench:compare: ${args.join(' ')} failed:\n${stderr}`)
  return JSON.parse(stdout.trim().split('\n').at(-1)!)
}

/** What both scripts are asked for. */
function argumentsOf(row: Row, dtype: readonly string[]): string[] {
  const { steps, warm, threads } = options
  const what = ['--case', row.case, '--method', row.method, ...dtype, ...(row.checkpoint ? ['--checkpoint'] : [])]
  return [...what, '--steps', steps, '--warm', warm, '--threads', threads]
}

function runOurs(row: Row): Run['line'] {
  const script = fileURLToPath(new URL(`./step${extname(fileURLToPath(import.meta.url))}`, import.meta.url))
  return launch(process.execPath, [...process.execArgv, script, ...argumentsOf(row, ['--dtype', row.dtype]), '--json'])
}

function runPeer(row: Row, peer: Peer, python: string): Run['line'] {
  return launch(python, [PEER, ...argumentsOf(row, PEERS[peer])])
}

function chosenRows(): readonly Row[] {
  if (!options.rows) return ROWS
  return options.rows.split(',').map(name => {
    const names = ROWS.map(row => row.name).join(', ')
    return (
      ROWS.find(row => row.name === name) ?? fail('ERR_OPTION', `rows: there is no row "${name}"; known are ${names}`)
    )
  })
}

function summarise(runs: readonly Run[]): Summary[] {
  const keys = new Set(runs.map(({ row, side }) => JSON.stringify([row, side])))
  return [...keys].map(key => {
    const [row, side] = JSON.parse(key) as [string, string]
    const lines = runs.filter(run => run.row === row && run.side === side).map(run => run.line)
    const overFloor = lines.flatMap(line => line.over_floor ?? [])
    return {
      row,
      side,
      processes: lines.length,
      cpu_min: round(Math.min(...lines.map(line => line.cpu_min)), 3),
      step_med: round(Math.min(...lines.map(line => line.step_med)), 3),
      rss_peak: median(lines.map(line => line.rss_peak)),
      ...(overFloor.length > 0 && { over_floor: Math.min(...overFloor) }),
    }
  })
}

const WHAT = options.decoders
  ? 'One step of LoRA on all linear layers (random weights, r 8, r 16 of the last two shapes, AdamW)'
  : 'One step of bert-base (random weights, 16 sequences of 128 tokens, dropout 0.1, r 8, AdamW)'

const GIB = (mib: number) => (mib / 1024).toFixed(2)

const NONE = '–'

/** Rows of the table, one a pair of our setting and the peer's. */
function table(summaries: readonly Summary[]): string {
  const of = (row: string, side: string) => summaries.find(s => s.row === row && s.side === side)
  const lines = ROWS.flatMap(row => {
    const ours = of(row.name, OURS)
    if (!ours) return []
    const line = (peer: string, theirs: Summary | undefined) => {
      const ratio = theirs ? `**${(ours.cpu_min / theirs.cpu_min).toFixed(2)}**` : NONE
      const seconds = [ours.cpu_min.toFixed(2), theirs?.cpu_min.toFixed(2) ?? NONE]
      const memory = [GIB(ours.rss_peak), theirs ? GIB(theirs.rss_peak) : NONE]
      const cells = [row.title, row.dtype, peer, ...seconds, ratio, ours.over_floor?.toFixed(2) ?? NONE, ...memory]
      return `| ${cells.join(' | ')} |`
    }
    if (row.peers.length === 0) return [line(NONE, undefined)]
    return row.peers.flatMap(peer => {
      const theirs = of(row.name, peer)
      return theirs ? [line(peer, theirs)] : []
    })
  })
  return [
    '| what runs | lowrank | PyTorch + PEFT | lowrank, CPU s | PyTorch, CPU s | ratio | over the floor | lowrank, GiB | PyTorch, GiB |',
    '|---|---|---|--:|--:|--:|--:|--:|--:|',
    ...lines,
  ].join('\n')
}

/** What stands between the markers: table and a line on where it comes from. */
function section(runs: readonly Run[]): string {
  const { machine: at, line } = runs.filter(run => run.side === OURS).at(-1)!
  const versions = runs.find(run => run.line.versions)?.line.versions ?? {}
  const peer = Object.entries(versions).map(([name, version]) => `${name} ${version}`)
  const counts = summarise(runs).map(s => s.processes)
  const most = Math.max(...counts)
  const processes = Math.min(...counts) === most ? String(most) : `${Math.min(...counts)} to ${most}`
  return [
    table(summarise(runs)),
    '',
    `${WHAT}: fewest process CPU ` +
      `seconds of a step in ${processes} fresh processes a side, run in turns, and peak resident memory; over the ` +
      `floor: lowrank's over what its products take at the processor's peak (docs/cpu.md). ${at.cpu}, ` +
      `${at.cores} cores shared with other work, ${line.threads} threads, ${at.isa}; Node ${at.node.slice(1)}; ` +
      `${peer.join(', ')}; commit ${at.commit}, ${at.date}. \`npm run bench:compare -- --python PYTHON${options.decoders ? ' --decoders' : ''}\` measures it anew.`,
  ].join('\n')
}

function save(runs: readonly Run[]): Promise<void> {
  const content = { machine: runs.at(-1)!.machine, summary: summarise(runs), runs }
  return writeFileAtomic(OUTPUT, `${JSON.stringify(content, null, 1)}\n`)
}

/** The table into README.md, or onto the terminal. */
async function publish(runs: readonly Run[]): Promise<void> {
  const readme = !options.decoders && options.to === undefined && existsSync(README) ? readFileSync(README, 'utf8') : ''
  const [start, end] = MARKERS.map(marker => readme.indexOf(marker)) as [number, number]
  if (start < 0 || end < start) return console.log(section(runs))
  const body = `${MARKERS[0]}\n${section(runs)}\n`
  await writeFileAtomic(README, readme.slice(0, start) + body + readme.slice(end))
}

async function main(): Promise<void> {
  const { python } = options
  check(python, 'ERR_OPTION', () => 'bench:compare: --python is missing; bench/peers/README.md says how to make one')
  const at = machine()
  const runs: Run[] = options.add && existsSync(OUTPUT) ? JSON.parse(readFileSync(OUTPUT, 'utf8')).runs : []
  for (let round = 0; round < Number(options.rounds); round++)
    for (const row of chosenRows()) {
      const sides = [OURS, ...row.peers] as const
      for (const side of sides) {
        const line = side === OURS ? runOurs(row) : runPeer(row, side, python)
        runs.push({ row: row.name, side, machine: at, line })
        console.error(`${row.name}  ${side}  cpu ${line.cpu_min} s  load ${line.load}`)
      }
      await save(runs)
    }
  await publish(runs)
}

await main()
