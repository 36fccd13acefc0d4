// Lists and keys whose types say what is in them.

/** As many values as a tuple has, all of one type. */
export type Each<L extends readonly unknown[], T> = { [K in keyof L]: T }

/** `list.map`, whose result has the length of the list in its type, so that it can be taken apart. */
export function mapTuple<const L extends readonly unknown[], T>(
  list: L,
  of: (item: L[number], index: number) => T,
): Each<L, T> {
  return list.map(of) as Each<L, T>
}

/** Whether a value is one of a list. */
export function isOneOf<const L extends readonly unknown[]>(list: L, value: unknown): value is L[number] {
  return list.includes(value)
}

/** `Object.keys` of an object that has no others than its type says. */
export function keysOf<T extends object>(object: T): (keyof T & string)[] {
  return Object.keys(object) as (keyof T & string)[]
}

/** The keys of an object, each true. */
export function marked<T extends object>(object: T): { readonly [K in keyof T]: true }
export function marked(object: object): object {
  return Object.fromEntries(Object.keys(object).map(key => [key, true]))
}

/** An object with some of the keys of another. */
export function pick<T extends object, K extends keyof T & string>(object: T, keys: readonly K[]): Pick<T, K> {
  const picked: Pick<T, K> = { ...object }
  for (const key of keysOf(picked)) if (!isOneOf(keys, key)) Reflect.deleteProperty(picked, key)
  return picked
}

/** The value at a place of a list. @throws RangeError where it has none; a tight loop over numbers does without */
export function nth<T>(list: ArrayLike<T>, index: number): T {
  const value = list[index]
  if (value === undefined) throw new RangeError(`there is nothing at ${index} of ${list.length}`)
  return value
}

/** The last value of a list. @throws RangeError where it is empty */
export function lastOf<T>(list: ArrayLike<T>): T {
  return nth(list, list.length - 1)
}

/** The value under a key. @throws RangeError where there is none */
export function under<K, V>(values: ReadonlyMap<K, V>, key: K): V
export function under<V>(values: Readonly<Record<string, V | undefined>>, key: string): V
export function under(values: ReadonlyMap<unknown, unknown> | Readonly<Record<string, unknown>>, key: string): unknown {
  const isOwn = !(values instanceof Map) && Object.hasOwn(values, key)
  const value: unknown = values instanceof Map ? values.get(key) : isOwn ? Reflect.get(values, key) : undefined
  if (value === undefined) throw new RangeError(`there is nothing under ${String(key)}`)
  return value
}

/** What must be there; `what` is its name. @throws Error where it is not */
export function must<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null) throw new Error(`there is no ${what}`)
  return value
}

/** The code point that begins at a unit of a text. @throws RangeError past its end */
export function codePointIn(text: string, at: number): number {
  const point = text.codePointAt(at)
  if (point === undefined) throw new RangeError(`there is nothing at ${at} of a text of ${text.length} units`)
  return point
}

/** Whether a value is a list of texts. */
export function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(item => typeof item === 'string')
}

/** Whether a value is a whole number from 0 to before `end`. */
export function isCount(value: unknown, end = Number.POSITIVE_INFINITY): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value < end
}
