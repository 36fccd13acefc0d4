import { add } from '../ops/add.ts'
import { type AttentionOptions, attention, attentionDecode } from '../ops/attention.ts'
import { cacheWrite } from '../ops/cacheWrite.ts'
import { Tensor } from '../tensor.ts'
import { mapTuple, nth } from '../tuple.ts'
import { type CaseInput, type CaseSizes, ints, type OpCase, real, training } from './case.ts'

export function attentionCases({ n, heads, headDim, lengths }: CaseSizes): OpCase[] {
  const width = heads * headDim
  const maxLength = Math.max(...lengths.slice(1).map((end, i) => end - nth(lengths, i)))
  const all = { heads, headDim, maxLength, rowStride: 128 }
  const bias: CaseInput = { ...real([heads, 2 * maxLength + 1], 3), wide: true }
  const features: [name: string, options: Partial<AttentionOptions>, ...extra: CaseInput[]][] = [
    ...[
      { causal: false, kvHeads: heads, p: 0 },
      { causal: true, kvHeads: 1, p: 0 },
      { causal: false, kvHeads: heads, p: 0.3 },
      { causal: true, kvHeads: 1, p: 0.2 },
    ].map(({ causal, kvHeads, p }): [string, Partial<AttentionOptions>] => [
      `${causal ? ' causal' : ''}, ${kvHeads} kv heads, dropout ${p}`,
      { causal, kvHeads, dropout: { p, site: 4 } },
    ]),
    [' causal, in a window', { causal: true, window: 2 }],
    [' in a window to both sides', { window: 2, dropout: { p: 0.2, site: 4 } }],
    [' soft-capped', { softcap: 1.5, kvHeads: 1 }],
    [' with position bias', { causal: true }, bias],
    [' with position bias to both sides', { kvHeads: 1 }, bias],
    [' with frozen position bias', {}, { ...bias, grad: false }],
    [' with position bias, soft-capped, in a window', { softcap: 2, window: 3, dropout: { p: 0.2, site: 4 } }, bias],
  ]
  const cases = features.map(([name, options, ...extra]) => {
    const kv = (options.kvHeads ?? heads) * headDim
    return {
      name: `attention${name}`,
      inputs: [real([n, width]), real([n, kv], 1), real([n, kv], 2), ints(...lengths), ...extra],
      run: training(([q, k, v, cu, b]) => attention(q, k, v, cu, { ...all, ...options, bias: b })),
      tolerance: 5e-6,
    }
  })
  return [...cases, crossAttentionCase(n, heads, headDim, lengths), decodeCase(heads, headDim, maxLength)]
}

/** To the queries' sequences in reverse order. */
function crossAttentionCase(n: number, heads: number, headDim: number, lengths: number[]): OpCase {
  const width = heads * headDim
  const keys = lengths.map(at => n - at).reverse()
  const options = { heads, headDim, maxLength: n, rowStride: 128, dropout: { p: 0.2, site: 4 } }
  return {
    name: 'attention to other sequences',
    inputs: [real([n, width]), real([n, width], 1), real([n, width], 2), ints(...lengths), ints(...keys)],
    run: training(([q, k, v, cu, cuK]) =>
      attention(q, k, v, cu, { ...options, keys: { cuSeqlens: cuK, maxLength: n } }),
    ),
    tolerance: 5e-6,
  }
}

/** Rows go to pages in reverse order, and are read from there. It has no gradient, so that of a sum is checked. */
function decodeCase(heads: number, headDim: number, length: number): OpCase {
  const constant = (input: CaseInput): CaseInput => ({ ...input, grad: false })
  const page = 3
  const most = Math.ceil(length / page)
  const places = Array.from({ length }, (_, j) => (most - 1 - Math.floor(j / page)) * page + (j % page))
  const pages = Array.from({ length: most }, (_, i) => most - 1 - i)
  return {
    name: 'cacheWrite and attentionDecode',
    inputs: [
      real([2, heads * headDim], 4),
      constant(real([2, heads * headDim])),
      constant(real([length, headDim], 1)),
      constant(real([length, headDim], 2)),
      ints(1, length),
      ints(...places),
      ints(...pages, ...pages),
      { ...constant(real([heads, 2 * most * page - 1], 3)), wide: true },
    ],
    run: ([x, q, k, v, lengths, slots, pages, bias]) => {
      const { device, dtype } = k
      const [keys, values] = mapTuple([k, v] as const, () => Tensor.zeros([most, page, headDim], { device, dtype }))
      cacheWrite({ keys, values }, k, v, slots)
      const seen = { lengths, pages: pages.reshape([2, most]) }
      return add(
        x,
        attentionDecode(q, { keys, values }, seen, { heads, kvHeads: 1, headDim, window: 3, softcap: 2, bias }),
      )
    },
    tolerance: 5e-6,
  }
}
