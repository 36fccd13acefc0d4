// LoRA on tables of vectors, and one change for a table and the output layer that is tied to it.

import { check } from '../errors.ts'
import type { Embedding } from '../nn/embedding.ts'
import { normal } from '../nn/init.ts'
import type { LinearAdapter } from '../nn/linear.ts'
import { transpose } from '../ops/matmul.ts'
import { site } from '../ops/random.ts'
import { must } from '../tuple.ts'
import { tiedLayers, tiedTable } from './layers.ts'
import type { Host, PlaceContext } from './method.ts'
import type { LoraStart } from './starts.ts'

/** What of LoRA's options counts here. */
interface TableOptions {
  readonly initLoraWeights: LoraStart
  readonly useDora: boolean
  readonly dropout: number
  readonly exact: boolean
}

/**
 * Factors of a table [rows, D]: its change is s Aᵀ Bᵀ, A [r, rows] and B [D, r]. A begins as zeros and B normal with
 * deviation 1, as PEFT's; both normal where `initLoraWeights` is false.
 * @throws ERR_UNSUPPORTED for DoRA, and for starts as a part of the weight
 */
export function factorsOnTable(
  table: Embedding,
  { r, scale }: { r: number; scale: number },
  { initLoraWeights: start, useDora }: TableOptions,
  context: PlaceContext,
): LinearAdapter {
  const { path, inFeatures, outFeatures } = table
  check(
    !useDora,
    'ERR_UNSUPPORTED',
    () => `useDora: is not built for tables, as ${path}; leave it out of targetModules`,
  )
  const isPart = typeof start === 'string' && /^(pissa|olora)/.test(start)
  check(!isPart, 'ERR_UNSUPPORTED', () => {
    return `initLoraWeights: ${start} is not built for tables, as ${path}; leave it out of targetModules`
  })
  const make = (which: 'A' | 'B', shape: [number, number]) =>
    context.parameter(`${path}.lora_embedding_${which}`, shape, (seed, name) => {
      const size = shape[0] * shape[1]
      return which === 'A' && start !== false ? new Float32Array(size) : normal(size, 1, seed, name)
    })
  const [a, b] = [make('A', [r, inFeatures]), make('B', [outFeatures, r])]
  const fixed = { scale, dropout: 0, site: site(path, 'lora') }
  return {
    ...{ name: context.name, params: [a, b], active: true },
    factors: () => ({ a: a.tensor, b: b.tensor, ...fixed }),
  }
}

/** The factors of a table as those of an output layer with the same weight: its A is Bᵀ, its B Aᵀ. */
export function following(
  table: LinearAdapter,
  path: string,
  { dropout, exact }: Pick<TableOptions, 'dropout' | 'exact'>,
): LinearAdapter {
  return {
    ...{ name: table.name, params: [], follows: true },
    get active() {
      return table.active
    },
    set active(_) {}, // the table's own counts
    factors: () => {
      const { a, b, scale } = must(table.factors?.(), 'factors')
      return { a: transpose(b), b: transpose(a), scale, dropout, exact, site: site(path, 'lora') }
    },
  }
}

/** Keys of PEFT's file for the factors that follow: transposed copies. */
export function followingCopies(table: string, output: string) {
  const [from, to] = [table, output].map(path => `base_model.model.${path}`)
  const copy = (which: string) => ({ of: `${from}.lora_embedding_${which}`, isTransposed: true })
  return new Map([
    [`${to}.lora_A.weight`, copy('B')],
    [`${to}.lora_B.weight`, copy('A')],
  ])
}

/**
 * Targets with the word embeddings in place of the output layer that is tied to them, as PEFT writes them. PEFT knows
 * these layers by their usual names.
 * @throws ERR_OPTION where neither is targeted, or they are not tied; not `isStrict`: undefined, for PEFT warns
 */
export function tiedTargets(
  host: Host,
  targets: string | readonly string[] | undefined,
  isStrict: boolean,
): string | string[] | undefined {
  const names = typeof targets === 'string' ? [] : (targets ?? [])
  const isNamed = names.some(name => /(^|\.)(embed_tokens|lm_head)$/.test(name))
  if (!isStrict && (!isNamed || tiedLayers(host).length === 0)) return undefined
  const table = tiedTable(host, 'ensureWeightTying')
  check(isNamed, 'ERR_OPTION', () => {
    return `ensureWeightTying: targetModules is ${JSON.stringify(targets ?? null)}; list embed_tokens or lm_head in it`
  })
  const output = host.output?.path ?? ''
  const others = names.filter(name => name !== output && !output.endsWith(`.${name}`))
  return others.includes(table.path) ? others : [...others, table.path]
}
