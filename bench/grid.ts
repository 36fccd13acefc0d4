// How far the settings taken with no flags stay behind the best of a grid, on validation rows alone.
//   node --import tsx bench/grid.ts NAME=DATA... [--encoder DIR] [--lr 5e-4,1e-3] [--epochs 5,10,20] [--r 8,16]
//     [--head-lr default,5e-3] [--targets all-linear,default] [--dropout 0,0.1] [--seeds 1,2] [--rows N]
//     [--compute f32] [--threads 1] [--out FILE]
// A set without validation file is cut anew by every seed, without the rows that a run with no flags tests on. Adds
// what is missing to bench/results/grid.json and prints every run; without --lr and --epochs the point is the defaults.
// At the end of a set: the score of the defaults as a share of the best of all points of its grid.

import { existsSync, readFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { spread } from '../lib/data/list.ts'
import { sha256File, writeFileAtomic } from '../lib/io/atomic.ts'
import { packageRoot } from '../lib/io/package.ts'
import { loadModel } from '../lib/model.ts'
import { native } from '../lib/native.ts'
import { attach } from '../lib/peft/attach.ts'
import { lora } from '../lib/peft/lora.ts'
import { type PreparedData, prepareData, splitData } from '../lib/tasks/prepare.ts'
import { loadTokenizer } from '../lib/tokenizer/tokenizer.ts'
import { train } from '../lib/train/train.ts'
import { cpuSeconds, round } from './machine.ts'

/** Most tokens of a text: all of the sets measured but a few rows. */
const MAX_LENGTH = 128
/** Most validation rows of a part of a set, evenly spread: evaluation is to cost less than training. */
const VALIDATION = 400
/** Shares of training and validation rows of a set that is cut anew. */
const SHARES = [0.8, 0.2, 0] as const

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    encoder: { type: 'string', default: join(packageRoot, 'assets/encoder') },
    lr: { type: 'string', default: 'default' },
    'head-lr': { type: 'string', default: 'default' },
    epochs: { type: 'string', default: 'default' },
    r: { type: 'string', default: '8' },
    targets: { type: 'string', default: 'all-linear' },
    dropout: { type: 'string', default: '0' },
    seeds: { type: 'string', default: '1' },
    compute: { type: 'string', default: 'f32' },
    rows: { type: 'string' },
    threads: { type: 'string', default: '1' },
    out: { type: 'string', default: join(packageRoot, 'bench/results/grid.json') },
  },
})

/** One point of the grid; undefined: what a run takes where nothing is said. */
interface Point {
  readonly set: string
  readonly encoder: string
  readonly rows: number | undefined
  readonly seed: number
  readonly lr: number | undefined
  readonly headLr: number | undefined
  readonly epochs: number | undefined
  readonly r: number
  readonly targets: string
  readonly dropout: number
  readonly compute: 'f32' | 'bf16'
}

interface Result extends Point {
  /** Validation metric of the task, best and after every epoch. */
  readonly best: number
  readonly scores: readonly number[]
  readonly cpu: number
}

async function dataOf({ rows, seed }: Point, path: string): Promise<PreparedData> {
  const tokenizer = await loadTokenizer(options.encoder)
  const whole = await splitData(path)
  const { train: first, validation } = whole.splits
  const isGiven = whole.notices.every(notice => !/^split /.test(notice))
  const given = isGiven
    ? { train: [...first], validation: rows === undefined ? [...validation] : [...spread(validation, VALIDATION)] }
    : { train: [...first, ...validation] }
  const fractions = isGiven ? undefined : SHARES
  return await prepareData(given, tokenizer, { maxLength: MAX_LENGTH, fractions, seed, rows, labels: whole.labels })
}

async function run(point: Point, path: string): Promise<Result> {
  const { seed, lr, headLr, epochs, r, targets, dropout, compute } = point
  const start = cpuSeconds()
  const data = await dataOf(point, path)
  using model = await loadModel(options.encoder, { ...data.head, seed, compute })
  const targetModules = targets === 'default' ? undefined : targets
  const adapter = attach(model, lora({ r, alpha: 2 * r, dropout, ...(targetModules && { targetModules }) }), { seed })
  const metric = data.head.task === 'token-classification' ? 'f1' : 'accuracy'
  const scores: number[] = []
  const sets = { train: data.train, validation: data.validation }
  const plan = { lr, headLr, epochs, seed, evaluateBefore: false, evalBatchSize: 64 }
  for await (const event of train(adapter, sets, plan))
    if (event.type === 'evaluation' && event.when === 'epoch')
      scores.push(round(event.metrics[metric] ?? Number.NaN, 4))
  return { ...point, best: Math.max(...scores), scores, cpu: round(cpuSeconds() - start, 1) }
}

const list = (text: string) => text.split(',')
const numbers = (text: string) => list(text).map(each => (each === 'default' ? undefined : Number(each)))

/** Every element of `points` with every value of a field. */
function times<T extends object, K extends string, V>(points: readonly T[], name: K, values: readonly V[]) {
  return points.flatMap(point => values.map(value => ({ ...point, [name]: value }) as T & Record<K, V>))
}

/** How results call the encoder: the bundled one also by its weights, of which there have been several. */
const encoder = options.encoder.endsWith('assets/encoder')
  ? `bundled ${(await sha256File(join(options.encoder, 'model.safetensors'))).slice(0, 8)}`
  : basename(dirname(options.encoder))

/** All points asked for. */
function pointsOf(set: string): Point[] {
  const rows = options.rows === undefined ? undefined : Number(options.rows)
  const seeds = times([{ set, encoder, rows }], 'seed', list(options.seeds).map(Number))
  const adapters = times(times(seeds, 'targets', list(options.targets)), 'r', list(options.r).map(Number))
  const dropped = times(times(adapters, 'dropout', list(options.dropout).map(Number)), 'compute', [
    computeOf(options.compute),
  ])
  const heads = times(dropped, 'headLr', numbers(options['head-lr']))
  return times(times(heads, 'epochs', numbers(options.epochs)), 'lr', numbers(options.lr))
}

const keyOf = ({ set, encoder, rows, seed, lr, headLr, epochs, r, targets, dropout = 0, compute = 'f32' }: Point) =>
  JSON.stringify([set, encoder, rows, seed, lr, headLr, epochs, r, targets, dropout, compute])

const gridOf = ({ set, encoder, rows, seed, compute = 'f32' }: Point) =>
  JSON.stringify([set, encoder, rows, seed, compute])
const isDefault = ({ lr, headLr, epochs, r, targets, dropout = 0 }: Point) =>
  lr === undefined &&
  headLr === undefined &&
  epochs === undefined &&
  r === 8 &&
  targets === 'all-linear' &&
  dropout === 0

/** How far the defaults are behind the best of the grid that a point lies in. */
function shareText(results: readonly Result[], point: Point): string {
  const grid = results.filter(result => gridOf(result) === gridOf(point))
  const taken = grid.find(isDefault)
  const best = Math.max(...grid.map(result => result.best))
  if (!taken) return `${point.set}: best ${best} of ${grid.length} points, the defaults are none of them`
  return `${point.set}: defaults ${taken.best}, ${round(taken.best / best, 3)} of the best of ${grid.length} points, ${best}`
}

function computeOf(text: string): Point['compute'] {
  if (text === 'f32' || text === 'bf16') return text
  throw new Error(`--compute ${text}: f32 or bf16`)
}

async function main(): Promise<void> {
  native.setThreads(Number(options.threads))
  const results: Result[] = existsSync(options.out) ? JSON.parse(readFileSync(options.out, 'utf8')) : []
  for (const argument of positionals) {
    const [set = '', path = ''] = argument.split('=')
    const points = pointsOf(set)
    const [first] = points
    for (const point of points) {
      if (results.some(result => keyOf(result) === keyOf(point))) continue
      const result = await run(point, path)
      console.log(JSON.stringify(result))
      results.push(result)
      await writeFileAtomic(options.out, `[\n${results.map(each => JSON.stringify(each)).join(',\n')}\n]\n`)
    }
    if (first) console.log(shareText(results, first))
  }
}

await main()
