// Consecutive rows of a tensor as tensors, and the other way.

import { native } from '../native.ts'
import { copyInto, Tensor } from '../tensor.ts'
import { must, nth } from '../tuple.ts'
import { recordGroup } from './tape.ts'

/** Views of consecutive rows of x, [heights[i], …] each. */
export function rowViews(x: Tensor, heights: readonly number[]): Tensor[] {
  const { shape, device, dtype } = x
  const width = widthOf(shape)
  const begins = beginsOf(heights)
  // Views that the tape does not see: one rule makes the gradient of all.
  const parts = heights.map((height, i) => {
    return new Tensor(native.view(x.handle, nth(begins, i) * width, [height, ...shape.slice(1)]))
  })
  return recordGroup(parts, [x], [], dys => {
    const dx = Tensor.empty(shape, { device, dtype })
    dys.forEach((dy, i) => {
      const place = dx.view(nth(begins, i) * width, [nth(heights, i), ...shape.slice(1)])
      if (dy) copyInto(place, dy)
      else native.fill(place.handle, 0)
    })
    return [dx]
  })
}

/** Rows of several tensors one after the other, in one tensor. */
export function concatRows(parts: readonly Tensor[]): Tensor {
  const { shape, device, dtype } = nth(parts, 0)
  const width = widthOf(shape)
  const heights = parts.map(part => part.rows)
  const begins = beginsOf(heights)
  const total = heights.reduce((a, b) => a + b, 0)
  const y = Tensor.empty([total, ...shape.slice(1)], { device, dtype })
  parts.forEach((part, i) => {
    copyInto(y.view(nth(begins, i) * width, part.shape), part)
  })
  const [joined] = recordGroup([y], parts, [], ([dy]) => {
    return heights.map((height, i) => must(dy, 'dy').view(nth(begins, i) * width, [height, ...shape.slice(1)]))
  })
  return must(joined, 'joined')
}

/** Where parts of so many rows begin, one after the other. */
export function beginsOf(heights: readonly number[]): number[] {
  let begin = 0
  return heights.map(height => {
    begin += height
    return begin - height
  })
}

const widthOf = (shape: readonly number[]) => shape.slice(1).reduce((a, b) => a * b, 1)
