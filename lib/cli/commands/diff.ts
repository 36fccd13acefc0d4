// `lowrank diff`: how far two adapters are apart.

import { check } from '../../errors.ts'
import { useThreads } from '../../open/base.ts'
import { type Distance, distances } from '../../peft/index.ts'
import { must, nth } from '../../tuple.ts'
import { openAdapters } from '../adapters.ts'
import type { Settings } from '../options/options.ts'
import type { Console } from '../terminal/console.ts'
import { metricText } from '../terminal/format.ts'
import { table } from '../terminal/table.ts'

/** Tells the distances of the changes of weights. */
export async function diffCommand(settings: Settings, console: Console): Promise<number> {
  useThreads(settings)
  const folders = must(settings.adapters, 'adapters')
  check(folders.length === 2, 'ERR_OPTION', () => {
    return `diff: compares two adapters, ${folders.length} ${folders.length === 1 ? 'is' : 'are'} given; name two folders`
  })
  const { trained, adapters } = await openAdapters(settings, folders)
  try {
    const layers = await distances(nth(adapters, 0), nth(adapters, 1))
    const whole = total([...layers.values()])
    const rows = [...layers, ['all layers', whole] as const].map(([path, { first, second, difference }]) => {
      return [path, ...[first, second, difference, relative({ first, second, difference })].map(metricText)]
    })
    const headers = ['‖ΔW‖ first', 'second', 'difference', 'relative']
    console.line(table([{ header: 'layer' }, ...headers.map(header => ({ header, align: 'right' as const }))], rows))
    console.line()
    console.line('Frobenius norms; relative: the difference over the larger of the two, 0 for the same change')
    console.event({ type: 'summary', adapters: folders, all: whole, layers: Object.fromEntries(layers) })
    return 0
  } finally {
    trained.model.dispose()
  }
}

/** Norms over all layers together. */
function total(layers: readonly Distance[]): Distance {
  const norm = (key: keyof Distance) => Math.hypot(...layers.map(layer => layer[key]))
  return { first: norm('first'), second: norm('second'), difference: norm('difference') }
}

function relative({ first, second, difference }: Distance): number {
  const larger = Math.max(first, second)
  return larger > 0 ? difference / larger : 0
}
