// Examples that are longer than a model is to read.

import { type Example, IGNORED } from '../data/example.ts'
import { placeOf, type Row } from '../data/row.ts'
import { check } from '../errors.ts'
import type { Side } from '../tokenizer/config.ts'

/**
 * An example of at most `maxLength` tokens; what is too much goes at `side`.
 * @throws ERR_DATA naming the row where no token is left to learn
 */
export function cutIds(row: Row, ids: Int32Array, label: Int32Array, maxLength: number, side: Side): Example {
  const over = Math.max(0, ids.length - maxLength)
  const cut = (values: Int32Array) => {
    if (over === 0) return values
    return side === 'left' ? values.slice(over) : values.slice(0, maxLength)
  }
  const kept = cut(label)
  // The first token of a sequence has none before it to be told from.
  check(
    kept.subarray(1).some(id => id !== IGNORED),
    'ERR_DATA',
    () => {
      const length =
        over > 0 ? ` in the ${side === 'left' ? 'last' : 'first'} ${maxLength} of its ${ids.length} tokens` : ''
      const cure = over > 0 ? `raise maxLength, or cut at the other side (truncationSide)` : 'drop the row'
      return `data: ${placeOf(row)}: there is nothing to learn${length}; ${cure}`
    },
  )
  return { ids: cut(ids), label: kept, truncated: over > 0, row }
}
