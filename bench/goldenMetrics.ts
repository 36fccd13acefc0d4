// How far a replay is from a golden trace, and how far it may be.

/** Numbers by tensor name. */
export type Snapshot = Map<string, ArrayLike<number>>

/**
 * loss: largest relative difference of a step's loss. grads, step10, final: ‖difference‖ / ‖reference‖ of gradients, or
 * of the way parameters went since the start, over all tensors and (tensor) of the worst one. logits: before and after.
 */
export interface Metrics {
  loss: number
  grads: number
  grads_tensor: number
  step10: number
  step10_tensor: number
  final: number
  final_tensor: number
  logits: number
}

export const BARS: Metrics = {
  loss: 1.5e-4,
  grads: 1.5e-5,
  grads_tensor: 6e-5,
  step10: 1e-4,
  step10_tensor: 2.5e-4,
  final: 2.5e-4,
  final_tensor: 6e-4,
  logits: 1e-4,
}

/** Of a tensor too small or too still to matter, no more than a tenth of its fair share of the norm is the divisor. */
const SHARE = 0.1

/** ‖got − reference‖ / ‖reference − base‖ over all tensors, and of the worst one. A missing or NaN tensor gives NaN. */
export function relative(got: Snapshot, reference: Snapshot, base?: Snapshot): { all: number; worst: number } {
  const sizes: { difference: number; moved: number; count: number }[] = []
  for (const [name, expected] of reference) {
    const mine = got.get(name)
    const start = base?.get(name)
    let [difference, moved] = [0, 0]
    for (let i = 0; i < expected.length; i++) {
      difference += ((mine?.[i] ?? Number.NaN) - expected[i]!) ** 2
      moved += (expected[i]! - (base ? (start?.[i] ?? Number.NaN) : 0)) ** 2
    }
    sizes.push({ difference: Math.sqrt(difference), moved: Math.sqrt(moved), count: expected.length })
  }
  const total = Math.hypot(...sizes.map(s => s.moved))
  const count = sizes.reduce((sum, s) => sum + s.count, 0)
  const shares = sizes.map(s => s.difference / Math.max(s.moved, SHARE * total * Math.sqrt(s.count / count)))
  return { all: Math.hypot(...sizes.map(s => s.difference)) / total, worst: Math.max(...shares) }
}

/** Whether a metric is past its bar, or no number. */
export function overBars(metrics: Metrics): boolean {
  return names(metrics).some(name => !(metrics[name] <= BARS[name]))
}

// A trace of fewer than ten steps has no step10.
const names = (metrics: Metrics) => (Object.keys(BARS) as (keyof Metrics)[]).filter(name => name in metrics)

/** One row a trace; `!` marks what is past its bar. */
export function printMetrics(results: ReadonlyMap<string, Metrics>): void {
  const columns = Object.keys(BARS) as (keyof Metrics)[]
  const row = (title: string, cells: string[]) =>
    console.log(title.padEnd(28) + cells.map(c => c.padStart(15)).join(''))
  row('worst relative difference', columns)
  row(
    'bar',
    columns.map(name => BARS[name].toExponential(1)),
  )
  for (const [title, metrics] of results) {
    const cell = (name: keyof Metrics) => {
      if (!(name in metrics)) return '-'
      return metrics[name].toExponential(1) + (metrics[name] <= BARS[name] ? ' ' : '!')
    }
    row(title, columns.map(cell))
  }
}
