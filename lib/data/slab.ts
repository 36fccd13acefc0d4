// Many small arrays in few large ones: a typed array of its own costs 200 bytes beside its numbers, a view 100.

import type { Example } from './example.ts'

/** Numbers of a slab: 256 KiB. What is longer has an array of its own. */
const SIZE = 1 << 16

/** Takes copies of arrays that live as long as each other. */
class Slabs {
  #slab = new Int32Array(0)
  #used = 0

  /** An equal array, which is a view of a slab. */
  keep(values: Int32Array): Int32Array {
    if (values.length > SIZE / 16) return values.slice()
    if (this.#used + values.length > this.#slab.length) {
      this.#slab = new Int32Array(SIZE)
      this.#used = 0
    }
    const start = this.#used
    this.#used += values.length
    this.#slab.set(values, start)
    return this.#slab.subarray(start, this.#used)
  }
}

/**
 * Makes examples small: their arrays become views of shared ones, token types that are all 0 are left out, and labels
 * that are the ids are those. What it returns is equal to the model, and lives as long as its neighbours.
 */
export function compacting(): (example: Example) => Example {
  const slabs = new Slabs()
  return example => {
    const ids = slabs.keep(example.ids)
    const { typeIds, label, wordIds, target, passage } = example
    const labels = label === example.ids ? ids : label instanceof Int32Array ? slabs.keep(label) : undefined
    const small: Example = {
      ids,
      typeIds: typeIds?.some(type => type !== 0) ? slabs.keep(typeIds) : undefined,
      label: labels ?? label,
      truncated: example.truncated,
      row: example.row,
    }
    if (!example.words && !wordIds && !target && !example.asked && !passage) return small
    return {
      ...example,
      ...small,
      ...(wordIds ? { wordIds: slabs.keep(wordIds) } : {}),
      ...(passage ? { passage: { ...passage, places: slabs.keep(passage.places) } } : {}),
      ...(target ? { target: target === label && labels ? labels : slabs.keep(target) } : {}),
    }
  }
}
