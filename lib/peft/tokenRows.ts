// Rows of tables that train in place of their own: a few tokens of the vocabulary. With P the rows of the unit matrix
// that the indices name, the table is W + Pᵀ (Δ − P W): low-rank factors one of which is frozen. Δ alone is saved.

import { check, nearest } from '../errors.ts'
import { normal } from '../nn/init.ts'
import type { LinearAdapter } from '../nn/linear.ts'
import type { Parameter } from '../nn/module.ts'
import { add } from '../ops/add.ts'
import { embedding } from '../ops/embedding.ts'
import { transpose } from '../ops/matmul.ts'
import { scale } from '../ops/scale.ts'
import { isRecord } from '../options.ts'
import { scope, Tensor } from '../tensor.ts'
import { must, nth } from '../tuple.ts'
import { isTable, type Layer, layersOf, tiedLayers } from './layers.ts'
import { trainedDType } from './merging.ts'
import type { Host, Matched, PlaceContext } from './method.ts'
import { endsAt } from './targets.ts'
import { moduleOf } from './wholeModules.ts'

/** Ids of tokens: of the word embeddings, or by module. */
export type TokenIndices = readonly number[] | Readonly<Record<string, readonly number[]>>

/** Rows of one Δ, and the layers that have them in place of their own. */
interface TokenRowGroup {
  /** The module that files name. */
  readonly path: string
  readonly layers: readonly Layer[]
  readonly indices: readonly number[]
}

/** The module of the word embeddings: of an encoder-decoder that whose table both sides look up. */
export function wordsPath({ backbone }: Host): string {
  return moduleOf(backbone.wordEmbeddings.weight.name)
}

/**
 * What indices stand for, by PEFT's rules: an output layer that is tied to the word embeddings has their rows, unless
 * it is given others. `isTying`: others are an error.
 * @throws ERR_OPTION for a module that is none, ids that are none, or twice
 */
export function groupsOf(host: Host, given: TokenIndices, option: string, isTying = false): TokenRowGroup[] {
  const words = wordsPath(host)
  const byName = isRecord(given) ? Object.entries(given) : [[words, given] as const]
  const tied = tiedLayers(host)
  const tables = [...host.embeddings.values()].filter(({ weight }) => weight === host.backbone.wordEmbeddings.weight)
  const isOutput = (name: string) => host.output !== undefined && endsAt(name, host.output.path)
  const main = byName.find(([name]) => endsAt(name, words))?.[1]
  const apart =
    tied.length > 0 ? byName.find(([name, ids]) => isOutput(name) && main && `${ids}` !== `${main}`) : undefined
  check(!apart || !isTying, 'ERR_OPTION', () => {
    return `${option}: [${main}] and [${apart?.[1]}] for layers that ensureWeightTying keeps alike; give both the same`
  })
  return byName.flatMap(([name, indices]) => {
    if (endsAt(name, words)) {
      const layers = tied.length > 0 && !apart ? tied : tables
      return [{ path: words, layers, indices: checked(indices, nth(tables, 0), option) }]
    }
    if (isOutput(name) && tied.length > 0 && main && !apart) return []
    const found = layersOf(host).find(({ path }) => endsAt(name, path))
    const ends = layersOf(host).flatMap(({ path }) => [path, path.split('.').at(-1) ?? path])
    check(found, 'ERR_OPTION', () => `${option}: "${name}" is no table and no layer${nearest(name, ends)}`)
    return [{ path: found.path, layers: [found], indices: checked(indices, found, option) }]
  })
}

function checked(indices: readonly number[], { weight }: Layer, option: string): readonly number[] {
  const wrong = indices.find((id, i) => id >= weight.rows || indices.indexOf(id) !== i)
  check(indices.length > 0 && wrong === undefined, 'ERR_OPTION', () => {
    const what = indices.length === 0 ? 'no token' : `token ${wrong}`
    return `${option}: ${what}, expected different ones below ${weight.rows}, the rows of ${weight.name}`
  })
  return indices
}

/** Rows that train on layers: `linear` gets an adapter for each. `startsSame`: they begin as the table's own. */
export function placeRows(
  host: Host,
  { path, layers, indices }: TokenRowGroup,
  linear: Map<string, LinearAdapter>,
  context: PlaceContext,
  { key, startsSame = true }: { key: string; startsSame?: boolean },
): Matched {
  const { weight } = nth(layers, 0)
  const [k, dtype] = [indices.length, trainedDType(host.storage)]
  const own = () => {
    const ids = Tensor.from(Int32Array.from(indices), [k], { device: host.device })
    return scope(() => embedding(weight.own, ids, dtype))
  }
  const shape = [k, weight.columns] as const
  const rows = context.parameter(`${path}.${key}`, shape, (seed, name) => {
    return startsSame ? own() : normal(k * weight.columns, 1, seed, name)
  })
  const original = context.constant(shape, own)
  for (const [i, layer] of layers.entries()) {
    check(!linear.has(layer.path), 'ERR_OPTION', () => {
      return `trainableTokenIndices: ${layer.path} is one of targetModules too; leave it out of one of them`
    })
    const first = linear.get(nth(layers, 0).path)
    linear.set(
      layer.path,
      onLayer(layer, { rows, original, indices, first: i > 0 ? must(first, 'first') : undefined }, context),
    )
  }
  return { path: nth(layers, 0).path, text: `${k} rows` }
}

/** What the layers of a group share. */
interface Rows {
  readonly rows: Parameter
  readonly original: Parameter
  readonly indices: readonly number[]
  /** The adapter of the first layer, which this one follows. */
  readonly first: LinearAdapter | undefined
}

function onLayer(layer: Layer, { rows, original, indices, first }: Rows, context: PlaceContext): LinearAdapter {
  const [k, size] = [indices.length, layer.weight.rows]
  const isWide = isTable(layer)
  // P for a table, as its A; its transpose for an output layer, as its B.
  const choice = context.constant(isWide ? [k, size] : [size, k], () => {
    const data = new Float32Array(k * size)
    for (const [i, id] of indices.entries()) data[isWide ? i * size + id : id * k + i] = 1
    return data
  })
  const difference = () => add(rows.tensor, scale(original.tensor, -1))
  const fixed = { scale: 1, dropout: 0, site: 0 }
  const factors = () =>
    isWide
      ? { a: choice.tensor, b: transpose(difference()), ...fixed }
      : { a: difference(), b: choice.tensor, ...fixed }
  if (!first) return { name: context.name, params: [rows], active: true, factors }
  return {
    ...{ name: context.name, params: [], follows: true },
    get active() {
      return first.active
    },
    set active(_) {}, // the first one's counts
    factors,
  }
}
