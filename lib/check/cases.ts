// One table of op cases: add a case and every check follows.

import { attentionCases } from './attention.ts'
import { type OpCase, SIZES, type Size } from './case.ts'
import { elementwiseCases } from './elementwise.ts'
import { headCases, lossCases } from './losses.ts'
import { normCases, ropeCases } from './norms.ts'
import { productCases } from './products.ts'

/** Every op, small enough for central differences, large enough for blocks and tails, or as large as in BERT-base. */
export function opCases(size: Size = 'small'): OpCase[] {
  const sizes = SIZES[size]
  return [elementwiseCases, productCases, normCases, ropeCases, attentionCases, lossCases, headCases].flatMap(cases => {
    return cases(sizes)
  })
}
