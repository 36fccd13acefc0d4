import { nth } from '../tuple.ts'

/** What a histogram says of its values as a whole. */
export function momentsOf(values: ArrayLike<number>) {
  let [min, max, sum, squares] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 0]
  for (let i = 0; i < values.length; i++) {
    const value = nth(values, i)
    min = Math.min(min, value)
    max = Math.max(max, value)
    sum += value
    squares += value * value
  }
  return { count: values.length, min, max, sum, squares }
}
