// Layers that adapters sit on: linear ones, and tables of vectors; and what becomes of those that share one weight.

import { check } from '../errors.ts'
import type { Embedding } from '../nn/embedding.ts'
import type { Linear, LinearAdapter } from '../nn/linear.ts'
import { must } from '../tuple.ts'
import type { Host } from './method.ts'

/** A layer with a slot for adapters. */
export type Layer = Linear | Embedding

type Layers = Pick<Host, 'linears' | 'embeddings'>

/** The layer of a Hugging Face module path. */
export function layerAt({ linears, embeddings }: Layers, path: string): Layer | undefined {
  return linears.get(path) ?? embeddings.get(path)
}

/** All of them, tables first, as a model lists its modules. */
export function layersOf({ linears, embeddings }: Layers): Layer[] {
  return [...embeddings.values(), ...linears.values()]
}

/** Whether a layer is a table: its weight is a linear layer's transposed. */
export function isTable(layer: Layer): layer is Embedding {
  return 'rows' in layer
}

/** The layers of the weight that the output layer shares with the word embeddings; none where it has its own. */
export function tiedLayers(host: Pick<Host, 'linears' | 'embeddings' | 'output' | 'shared'>): Layer[] {
  const { output, shared } = host
  if (!output || !shared.has(output.weight)) return []
  return layersOf(host).filter(({ weight }) => weight === output.weight)
}

/** Whether layers of one weight still have one with these adapters merged: one changes it at most, others as that. */
export function staysTied(layers: readonly Layer[], of: (layer: Layer) => readonly LinearAdapter[]): boolean {
  const changing = layers.filter(layer => of(layer).some(({ follows }) => !follows))
  const [first] = changing
  if (!first) return true
  const names = (layer: Layer) =>
    of(layer)
      .map(({ name }) => name)
      .sort()
      .join()
  return changing.length === 1 && layers.every(layer => names(layer) === names(first))
}

/** @throws ERR_OPTION where another adapter is merged into one of these paths; merging may untie the word embeddings */
export function checkFree({ adapters, output, backbone }: Host, name: string, paths: Iterable<string>): void {
  const pair = [output?.path, backbone.wordEmbeddings.path].flatMap(path => path ?? [])
  const own = [...paths]
  const wanted = [...own, ...(own.some(path => pair.includes(path)) ? pair : [])]
  for (const [other, adapter] of adapters) {
    const shared = adapter.isMerged ? wanted.find(path => adapter.carries(path)) : undefined
    check(shared === undefined, 'ERR_OPTION', () => {
      return `merge: ${shared}.weight is held by adapter "${other}", "${name}" wants it too; unmerge that one first`
    })
  }
}

/** @throws ERR_UNSUPPORTED where layers would part whose weight files hold once */
export function checkPartable(what: string, host: Host, of: (layer: Layer) => readonly LinearAdapter[]): void {
  const tables = [...host.embeddings.values()].filter(({ weight }) => weight === host.backbone.wordEmbeddings.weight)
  check(tables.length < 2 || staysTied(tables, of), 'ERR_UNSUPPORTED', () => {
    const names = tables.map(({ path }) => path).join(' and ')
    return `${what}: ${names} are one table in files of ${host.config.modelType}, and would differ; keep the adapter beside it`
  })
}

/** The word embeddings that an adapter of the model may tie to its output layer. @throws ERR_UNSUPPORTED */
export function tiedTable(host: Host, option: string): Embedding {
  const { output } = host
  const tables = tiedLayers(host).filter(isTable)
  const { modelType } = host.config
  check(tables.length > 0, 'ERR_OPTION', () => {
    return `${option}: the word embeddings of this ${modelType} are not tied to an output layer; leave it out`
  })
  const isKnown = tables.length === 1 && output?.path === 'lm_head' && /(^|\.)embed_tokens$/.test(tables[0]?.path ?? '')
  check(isKnown, 'ERR_UNSUPPORTED', () => {
    return `${option}: PEFT ties embed_tokens and lm_head alone, and would read a file for ${modelType} otherwise; leave it out`
  })
  return must(tables[0], 'table')
}
