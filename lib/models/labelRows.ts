// The last layer of a classifier has a row a label: a checkpoint's rows are taken by the names of their labels.

import { nth } from '../tuple.ts'
import type { TensorSource } from './weights.ts'

/** How the labels of a model relate to those of its checkpoint. */
interface LabelRows {
  /** Row of the checkpoint for each label, −1 where it has none. */
  readonly rows: readonly number[]
  /** One sentence for the user, where rows are not simply the checkpoint's. */
  readonly notice?: string
}

const list = (names: readonly string[]) =>
  names.length > 6 ? `${names.slice(0, 6).join(', ')} and ${names.length - 6} more` : names.join(', ')

const fold = (name: string) => name.trim().toLowerCase()

/**
 * Which rows of a checkpoint's classifier serve labels: those of the same names in any order, in capitals or not
 * (LABEL_3 is also 3). Where it has as many and none of these names, its rows are taken in their order, which is said.
 */
export function labelRows(labels: readonly string[], stored: readonly string[]): LabelRows {
  const known = new Map(stored.map((name, row) => [name, row]))
  const folded = stored.map(name => fold(name))
  const alike = (name: string): number => {
    const row = folded.indexOf(fold(name))
    return row >= 0 && folded.lastIndexOf(fold(name)) === row ? row : -1
  }
  const exact = labels.map(name => known.get(name) ?? known.get(`LABEL_${name}`) ?? -1)
  // Positive is positive, where the labels here do not tell the two apart.
  const isOwn = new Set(labels.map(fold)).size === labels.length
  const byName = isOwn ? exact.map((row, i) => (row < 0 ? alike(nth(labels, i)) : row)) : exact
  const found = byName.filter(row => row >= 0).length
  const base = `the base classifies ${list(stored)}`
  if (found === 0 && stored.length === labels.length)
    return { rows: [...labels.keys()], notice: `${base}: its rows are taken in this order for ${list(labels)}` }
  if (found === 0) return { rows: byName, notice: `${base}, none of which is a label here: the classifier starts anew` }
  if (found < labels.length) {
    const anew = labels.filter((_, i) => nth(byName, i) < 0)
    return { rows: byName, notice: `${base}: ${list(anew)} ${anew.length === 1 ? 'starts' : 'start'} anew` }
  }
  if (byName.every((row, i) => row === i) && stored.length === labels.length) return { rows: byName }
  return { rows: byName, notice: `${base}: its rows are taken by name` }
}

/**
 * A source whose tensors `<module>.weight` and `<module>.bias` have the rows asked for, zeros for −1; without any row
 * of the source, it lacks them.
 */
export function withRows(source: TensorSource, module: string, rows: readonly number[]): TensorSource {
  const isOutput = (name: string) => name === `${module}.weight` || name === `${module}.bias`
  if (rows.every(row => row < 0)) return hiding(source, isOutput)
  const outputs = new Set([...source.names()].filter(isOutput))
  const shapeOf = (name: string) => {
    const { dtype, shape } = source.info(name)
    return { dtype, shape: [rows.length, ...shape.slice(1)] }
  }
  return {
    names: () => source.names(),
    info: name => (outputs.has(name) ? shapeOf(name) : source.info(name)),
    read(name) {
      const bytes = source.read(name)
      if (!outputs.has(name)) return bytes
      const width = bytes.byteLength / nth(source.info(name).shape, 0)
      const made = new Uint8Array(rows.length * width)
      rows.forEach((row, i) => {
        if (row >= 0) made.set(bytes.subarray(row * width, (row + 1) * width), i * width)
      })
      return made
    },
    ...(source.isUpright ? { isUpright: true } : {}),
    ...(source.locate ? { locate: (name: string) => (outputs.has(name) ? undefined : source.locate!(name)) } : {}),
    remade: name => outputs.has(name),
  }
}

/** A source without some of its tensors. */
function hiding(source: TensorSource, hides: (name: string) => boolean): TensorSource {
  return {
    names: () => [...source.names()].filter(name => !hides(name)),
    info: name => source.info(name),
    read: name => source.read(name),
    ...(source.isUpright ? { isUpright: true } : {}),
    ...(source.locate ? { locate: (name: string) => source.locate!(name) } : {}),
  }
}
