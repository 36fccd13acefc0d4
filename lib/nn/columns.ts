import { check } from '../errors.ts'
import { embedding } from '../ops/embedding.ts'
import { Tensor } from '../tensor.ts'
import { type Each, mapTuple } from '../tuple.ts'

/** Columns [start, start + width) of every `period` columns, which divides the columns of the tensor. */
interface ColumnPattern {
  readonly start: number
  readonly width: number
  readonly period: number
}

/** The columns of x [N, D], cut into parts of these widths in their order; each [N, width]. */
export function splitColumns<const W extends readonly number[]>(x: Tensor, widths: W): Each<W, Tensor> {
  const period = x.columns
  let end = 0
  const parts = mapTuple(widths, width => {
    end += width
    return { start: end - width, width, period }
  })
  return gatherColumns(x, parts)
}

/**
 * Parts of the columns of x [N, D]: part i is [N, D / period · width]. With the period of one head, these are query,
 * key and value of a layer that keeps them head by head (GPT-NeoX).
 */
export function gatherColumns<const P extends readonly ColumnPattern[]>(x: Tensor, parts: P): Each<P, Tensor> {
  const { rows, columns } = x
  const grain = parts.reduce((g, { start, width, period }) => [start, width, period].reduce(divisor, g), columns)
  const grains = x.view(0, [(rows * columns) / grain, grain])
  return mapTuple(parts, part => {
    const index = grainsOf(rows, columns, grain, part)
    const found = embedding(grains, Tensor.from(index, [index.length], { device: x.device }), x.dtype)
    return found.view(0, [rows, (index.length * grain) / rows])
  })
}

/** Which grains a part takes, row by row. */
function grainsOf(rows: number, columns: number, grain: number, { start, width, period }: ColumnPattern): Int32Array {
  check(columns % period === 0, 'ERR_SHAPE', () => `gatherColumns: a period of ${period} does not divide ${columns}`)
  const [perRow, first, count, step] = [columns / grain, start / grain, width / grain, period / grain]
  const out = new Int32Array((rows * columns * width) / (period * grain))
  let at = 0
  for (let row = 0; row < rows; row++)
    for (let from = first; from < perRow; from += step)
      for (let k = 0; k < count; k++) out[at++] = row * perRow + from + k
  return out
}

function divisor(a: number, b: number): number {
  return b === 0 ? a : divisor(b, a % b)
}
