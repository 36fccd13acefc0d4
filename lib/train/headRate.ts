// The rate of a head that the base lacks, where nobody gave a rate: by how much the rows differ that it reads.

import type { Model } from '../model.ts'
import type { Linear, LinearAdapter } from '../nn/linear.ts'
import type { Adapter } from '../peft/adapter.ts'
import { copyOf, type Device, scope, Tensor } from '../tensor.ts'
import { nth } from '../tuple.ts'
import { settingsBefore } from './checkpoint.ts'
import { headRateFor } from './defaults.ts'
import type { TrainOptions } from './events.ts'
import type { TrainSettings } from './settings.ts'

/** Rows that say how far they lie apart. */
const ROWS = 64

/**
 * Settings with the rate of a new head, where neither `lr` nor `headLr` is given: as the run that is resumed had it,
 * else by what its output layer reads in `passes`, forward passes over the first micro-batches.
 */
export async function withHeadRate(
  adapter: Adapter<Model>,
  settings: TrainSettings,
  { lr: asked, headLr: askedOfHead }: TrainOptions,
  passes: Iterable<() => void>,
): Promise<TrainSettings> {
  const layer = asked === undefined && askedOfHead === undefined ? newOutput(adapter) : undefined
  if (!layer) return settings
  const before = await settingsBefore(settings)
  if (before) return typeof before.headLr === 'number' ? { ...settings, headLr: before.headLr } : settings
  const spread = await agreed(await spreadOf(adapter, layer, passes), adapter.host.device, settings)
  const headLr = headRateFor(settings.lr, layer.inFeatures, spread)
  return headLr > settings.lr ? { ...settings, headLr } : settings
}

/** The layer that makes the logits, where it trains and the base lacks it. */
function newOutput({ host, trainable }: Adapter<Model>): Linear | undefined {
  const { linears, head, headModules } = host
  const isOfHead = (path: string) => headModules.some(name => path === name || path.startsWith(`${name}.`))
  const found = [...linears.values()].filter(({ path, outFeatures }) => outFeatures === head.outputs && isOfHead(path))
  return found.findLast(({ weight }) => weight.isNew && trainable.some(p => weight === (p.base ?? p)))
}

/** Standard deviation, about the mean of each column, of the rows that a layer reads. */
async function spreadOf({ name }: Adapter, layer: Linear, passes: Iterable<() => void>): Promise<number> {
  const width = layer.inFeatures
  const sums = new Float64Array(width)
  let [squares, count] = [0, 0]
  for (const pass of passes) {
    const rows = watched(name, layer, pass)
    const values = await rows.floats().finally(() => rows.dispose())
    for (const [i, x] of values.entries()) {
      sums[i % width] = (sums[i % width] ?? 0) + x
      squares += x * x
    }
    count += values.length / width
    if (count >= ROWS) break
  }
  const ofMeans = sums.reduce((sum, x) => sum + (x * x) / count, 0)
  return Math.sqrt(Math.max(0, squares - ofMeans) / ((count - 1) * width))
}

/** The rows that a layer reads in a pass: a copy, to be freed. */
function watched(name: string, { adapters }: Linear, pass: () => void): Tensor {
  const read: Tensor[] = []
  const watch: LinearAdapter = {
    ...{ name, params: [], active: true },
    input: x => {
      read.push(copyOf(x, x.dtype === 'f64' ? 'f64' : 'f32').keep())
      return x
    },
  }
  adapters.push(watch)
  try {
    scope(pass)
  } finally {
    adapters.splice(adapters.indexOf(watch), 1)
  }
  return nth(read, 0)
}

/** The mean over all processes that train together, so that they have one rate. */
async function agreed(spread: number, device: Device, { communicator }: TrainSettings): Promise<number> {
  if (!communicator) return spread
  const sum = Tensor.from(Float32Array.of(spread), [1], { device }).keep()
  communicator.allReduce(sum)
  return (await sum.item().finally(() => sum.dispose())) / communicator.size
}
