// The element types of tensors in GGUF files, as ggml numbers them.

import { nth } from '../../tuple.ts'

/** A type: elements of a block, its bytes, and where its f16 numbers lie in it. */
export interface GgmlType {
  readonly name: string
  readonly elements: number
  readonly bytes: number
  /** Of the scales of a block of quantised elements, in bytes. */
  readonly scales?: readonly number[]
}

const K = 256

/** By number; what is not here is read nowhere in this package. */
export const GGML_TYPES: ReadonlyMap<number, GgmlType> = new Map([
  [0, { name: 'F32', elements: 1, bytes: 4 }],
  [1, { name: 'F16', elements: 1, bytes: 2 }],
  [2, { name: 'Q4_0', elements: 32, bytes: 18, scales: [0] }],
  [3, { name: 'Q4_1', elements: 32, bytes: 20, scales: [0, 2] }],
  [6, { name: 'Q5_0', elements: 32, bytes: 22, scales: [0] }],
  [7, { name: 'Q5_1', elements: 32, bytes: 24, scales: [0, 2] }],
  [8, { name: 'Q8_0', elements: 32, bytes: 34, scales: [0] }],
  [10, { name: 'Q2_K', elements: K, bytes: 84, scales: [80, 82] }],
  [11, { name: 'Q3_K', elements: K, bytes: 110, scales: [108] }],
  [12, { name: 'Q4_K', elements: K, bytes: 144, scales: [0, 2] }],
  [13, { name: 'Q5_K', elements: K, bytes: 176, scales: [0, 2] }],
  [14, { name: 'Q6_K', elements: K, bytes: 210, scales: [208] }],
  [24, { name: 'I8', elements: 1, bytes: 1 }],
  [25, { name: 'I16', elements: 1, bytes: 2 }],
  [26, { name: 'I32', elements: 1, bytes: 4 }],
  [27, { name: 'I64', elements: 1, bytes: 8 }],
  [28, { name: 'F64', elements: 1, bytes: 8 }],
  [30, { name: 'BF16', elements: 1, bytes: 2 }],
])

/** Names that others give to numbers, for messages. */
const ELSEWHERE: Readonly<Record<number, string>> = {
  9: 'Q8_1',
  15: 'Q8_K',
  16: 'IQ2_XXS',
  17: 'IQ2_XS',
  18: 'IQ3_XXS',
  19: 'IQ1_S',
  20: 'IQ4_NL',
  21: 'IQ3_S',
  22: 'IQ2_S',
  23: 'IQ4_XS',
  29: 'IQ1_M',
  34: 'TQ1_0',
  35: 'TQ2_0',
  39: 'MXFP4',
}

/** What ggml calls a type that is not read here. */
export function nameOfType(number: number): string {
  return ELSEWHERE[number] ?? `number ${number}`
}

const byName = new Map([...GGML_TYPES.values()].map(type => [type.name, type]))

/** The type of a name, as {@link GGML_TYPES} spells it. */
export function ggmlType(name: string): GgmlType | undefined {
  return byName.get(name)
}

/** The number of a type's name. */
export function typeNumber(name: string): number | undefined {
  return [...GGML_TYPES].find(([, type]) => type.name === name)?.[0]
}

/** Whether every scale of whole blocks is a number and finite; their other bits are whole numbers. */
export function areFiniteBlocks(blocks: Uint8Array, { bytes, scales = [] }: GgmlType): boolean {
  for (const scale of scales)
    for (let high = scale + 1; high < blocks.length; high += bytes)
      if ((nth(blocks, high) & 0x7c) === 0x7c) return false
  return true
}
