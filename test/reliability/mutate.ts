// Mutations of files: bytes, texts and JSON trees, keyed by a seed so that each can be made again.

import type { Random } from '../../lib/random.ts'

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json }

const pick = <T>(rng: Random, items: readonly T[]): T => items[rng.below(items.length)]!

const STRANGE: readonly (() => Json)[] = [
  () => null,
  () => true,
  () => '',
  () => 'x',
  () => '7',
  () => '(a+)+$',
  () => '\u001b]0;x\u0007\ud800',
  () => '../../../etc/passwd',
  () => '__proto__',
  () => 'NaN',
  () => -1,
  () => 0,
  () => 3.5,
  () => 1e300,
  () => 2 ** 31 - 1,
  () => 2 ** 53,
  () => [],
  () => ({}),
  () => [[], {}, 'x', null],
  () => 'long '.repeat(20_000),
  () => JSON.parse('['.repeat(300) + ']'.repeat(300)),
]

/** A copy of a tree with one part, found by walking down, that is gone, strange, doubled, or another part of it. */
export function mutateTree(tree: Json, rng: Random, whole: Json = tree): Json {
  if (tree === null || typeof tree !== 'object' || rng.below(6) === 0)
    return rng.below(6) === 0 ? whole : pick(rng, STRANGE)()
  if (Array.isArray(tree)) {
    if (tree.length === 0) return [pick(rng, STRANGE)()]
    const at = rng.below(Math.min(tree.length, 40))
    if (rng.below(8) === 0) return [...tree, ...tree]
    return tree.map((item, i) => (i === at ? mutateTree(item, rng, whole) : item))
  }
  const keys = Object.keys(tree)
  if (keys.length === 0) return { x: pick(rng, STRANGE)() }
  const key = pick(rng, keys)
  const kind = rng.below(8)
  if (kind === 0) return Object.fromEntries(Object.entries(tree).filter(([name]) => name !== key))
  if (kind === 1) return { ...tree, [pick(rng, ['x', '', '__proto__', pick(rng, keys)])]: tree[key]! }
  return { ...tree, [key]: mutateTree(tree[key]!, rng, whole) }
}

const BYTES: readonly Uint8Array[] = [
  '\0',
  '\xff\xfe',
  '\xef\xbb\xbf',
  '"',
  '""',
  '\n',
  '\r\n',
  '\t',
  ',',
  '{',
  ']',
  ':',
  '\\',
  '\\u0000',
  '&a',
  '*a',
  '<<: ',
  '[[[[',
  '-',
  '9'.repeat(400),
  'e999',
  'NaN',
  '# ',
  '- ',
  '\x1b[2J',
  '\x80\x04',
  '\x1f\x8b',
  'PK\x03\x04',
  '\x7f\xff\xff\xff',
  '\xff\xff\xff\xff\xff\xff\xff\xff',
].map(text => Buffer.from(text, 'latin1'))

/** Bytes with one to four of: flipped, cut out, put in, doubled, cut off, or taken from another file. */
export function mutateBytes(bytes: Uint8Array, rng: Random, others: readonly Uint8Array[]): Uint8Array {
  let now = Buffer.from(bytes)
  for (let k = rng.below(4); k >= 0; k--) now = mutateOnce(now, rng, others)
  return now
}

function mutateOnce(bytes: Buffer, rng: Random, others: readonly Uint8Array[]): Buffer<ArrayBuffer> {
  const at = rng.below(bytes.length + 1)
  const to = Math.min(bytes.length, at + 1 + rng.below(rng.below(4) === 0 ? bytes.length + 1 : 16))
  const [before, part, after] = [bytes.subarray(0, at), bytes.subarray(at, to), bytes.subarray(to)]
  switch (rng.below(7)) {
    case 0:
      return Buffer.from(before)
    case 1:
      return Buffer.concat([before, after])
    case 2:
      return Buffer.concat([before, part, part, after])
    case 3:
      return Buffer.concat([before, pick(rng, BYTES), part, after])
    case 4: {
      const other = pick(rng, others)
      const from = rng.below(other.length + 1)
      return Buffer.concat([before, other.subarray(from, from + 1 + rng.below(64)), after])
    }
    default: {
      const copy = Buffer.from(bytes)
      if (copy.length > 0) copy[Math.min(at, copy.length - 1)] = rng.below(256)
      return copy as Buffer<ArrayBuffer>
    }
  }
}

/** A JSON text: its tree changed, or now and then its bytes. */
export function mutateJson(bytes: Uint8Array, rng: Random, others: readonly Uint8Array[]): Uint8Array {
  if (rng.below(5) === 0) return mutateBytes(bytes, rng, others)
  let tree = JSON.parse(Buffer.from(bytes).toString()) as Json
  for (let k = rng.below(3); k >= 0; k--) tree = mutateTree(tree, rng)
  return Buffer.from(JSON.stringify(tree))
}
