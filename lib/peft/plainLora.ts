import { check } from '../errors.ts'
import { nth } from '../tuple.ts'
import type { Adapter } from './adapter.ts'
import { readFactors } from './combine.ts'
import { hasFactors } from './convert.ts'
import type { Matrix } from './linearAlgebra.ts'
import type { Host } from './method.ts'

/** What LoRA adds to a layer: scale · B A. */
interface PlainFactors {
  /** Hugging Face module path. */
  readonly path: string
  readonly a: Matrix
  readonly b: Matrix
  readonly scale: number
}

/**
 * The factors of an adapter that is LoRA and nothing else, for formats that hold no more.
 * @throws ERR_UNSUPPORTED for other methods, layers trained whole and biases, in the name of `what`
 */
export async function plainFactors(adapter: Adapter, what: string): Promise<PlainFactors[]> {
  const other = [...adapter.tensors()].find(([key]) => !/\.lora_[AB]\.weight$/.test(key))?.[0]
  check(hasFactors(adapter) && other === undefined, 'ERR_UNSUPPORTED', () => {
    const more =
      other === undefined ? `${adapter.method.kind.title} is more than low-rank factors` : `it trains ${other}`
    return `${what}: ${more}, which its adapters cannot hold; convert it to plain LoRA, or merge it`
  })
  const { host } = adapter
  const table = adapter.matched.find(({ path }) => host.embeddings.has(path) || isTiedOutput(host, path))
  check(table === undefined, 'ERR_UNSUPPORTED', () => {
    return `${what}: it changes ${table?.path}, which its adapters cannot hold; merge it`
  })
  const layers = await readFactors([{ adapter, weight: 1 }])
  return [...layers].map(([path, parts]) => ({ path, ...nth(parts, 0) }))
}

function isTiedOutput(host: Host, path: string): boolean {
  return path === host.output?.path && host.shared.has(host.output.weight)
}

/** Factors whose update is `strength` · B A / rank for all of them alike: B takes what differs. */
export function alike(factors: readonly PlainFactors[]): { strength: number; factors: PlainFactors[] } {
  const strengthOf = ({ scale, a }: PlainFactors) => scale * a.rows
  const strength = Math.fround(strengthOf(nth(factors, 0)))
  return {
    strength,
    factors: factors.map(each => {
      const more = strengthOf(each) / strength
      return { ...each, scale: strength / each.a.rows, b: { ...each.b, data: each.b.data.map(value => value * more) } }
    }),
  }
}
