/** As many values as a tuple has, all of one type. */
export type Each<L extends readonly unknown[], T> = { [K in keyof L]: T }

/** `list.map`, whose result has the length of the list in its type, so that it can be taken apart. */
export function mapTuple<const L extends readonly unknown[], T>(
  list: L,
  of: (item: L[number], index: number) => T,
): Each<L, T> {
  return list.map(of) as Each<L, T>
}
