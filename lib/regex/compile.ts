// A pattern's tree as instructions for the matcher.

import { nth } from '../tuple.ts'
import type { Anchor } from './cursor.ts'
import { RegexError } from './error.ts'
import type { Node } from './parse.ts'
import { CharSet } from './sets.ts'

/** What an instruction does; `a`, `b`, `c` are its operands. */
export const op = {
  /** One character of set a. */
  set: 0,
  /** As many of set a as there are, at least b, at most c; gives back one by one. */
  run: 1,
  /** Goes on at a, and at b if that fails. */
  split: 2,
  jump: 3,
  anchor: 4,
  /** Whether the instructions from here on match; goes on at a. b: 1 negative; c: 0 ahead, else 1 + how far behind. */
  look: 5,
  /** A look ahead at one character of set a; b: 1 negative. */
  lookSet: 6,
  /** The instructions from here on, without giving back; goes on at a. */
  atomic: 7,
  match: 8,
} as const

export const anchors: readonly Anchor[] = ['start', 'end', 'endOrLine', 'lineStart', 'lineEnd', 'boundary', 'inside']

/** Instructions in parallel arrays. */
export interface Program {
  readonly ops: Uint8Array
  readonly a: Int32Array
  readonly b: Int32Array
  readonly c: Int32Array
  readonly sets: readonly CharSet[]
  /** By pc of a split: for each ASCII character 1 if branch a can begin with it, 2 if branch b can. */
  readonly branches: readonly (Uint8Array | undefined)[]
}

// Of longer programs nobody waits for the table of branches.
const mostForBranches = 500
const maxInstructions = 20_000
const unlimited = 0x7ffffffe

interface Writer {
  readonly code: [number, number, number, number][]
  readonly sets: CharSet[]
  readonly setIds: Map<string, number>
}

/** @throws {@link RegexError} for a pattern whose counts make it too long. */
export function compile(node: Node): Program {
  const writer: Writer = { code: [], sets: [], setIds: new Map() }
  write(writer, node)
  emit(writer, op.match)
  const column = (i: 0 | 1 | 2 | 3) => writer.code.map(row => row[i])
  const first = firstCharacters(writer)
  return {
    branches: writer.code.map(([code, a, b]) => (code === op.split ? merged(nth(first, a), nth(first, b)) : undefined)),
    ops: Uint8Array.from(column(0)),
    a: Int32Array.from(column(1)),
    b: Int32Array.from(column(2)),
    c: Int32Array.from(column(3)),
    sets: writer.sets,
  }
}

function emit(writer: Writer, code: number, a = 0, b = 0, c = 0): number {
  if (writer.code.length >= maxInstructions) throw new RegexError(`takes more than ${maxInstructions} instructions`)
  return writer.code.push([code, a, b, c]) - 1
}

function write(writer: Writer, node: Node): void {
  switch (node.type) {
    case 'set':
      emit(writer, op.set, setId(writer, node))
      break
    case 'sequence':
      for (const part of node.parts) write(writer, part)
      break
    case 'choice':
      writeChoice(writer, node.parts)
      break
    case 'repeat':
      writeRepeat(writer, node)
      break
    case 'atomic':
      writeBlock(writer, op.atomic, node.part)
      break
    case 'look':
      if (node.part.type === 'set' && !node.behind)
        emit(writer, op.lookSet, setId(writer, node.part), node.negative ? 1 : 0)
      else writeBlock(writer, op.look, node.part, node.negative ? 1 : 0, node.behind ? 1 + width(node.part) : 0)
      break
    case 'anchor':
      emit(writer, op.anchor, anchors.indexOf(node.at))
  }
}

function setId(writer: Writer, { key, test }: Extract<Node, { type: 'set' }>): number {
  const known = writer.setIds.get(key)
  if (known !== undefined) return known
  const id = writer.sets.push(new CharSet(test)) - 1
  writer.setIds.set(key, id)
  return id
}

function writeBlock(writer: Writer, code: number, part: Node, b = 0, c = 0): void {
  const at = emit(writer, code, 0, b, c)
  write(writer, part)
  emit(writer, op.match)
  nth(writer.code, at)[1] = writer.code.length
}

function writeChoice(writer: Writer, parts: readonly Node[]): void {
  const ends: number[] = []
  parts.forEach((part, i) => {
    const last = i === parts.length - 1
    const split = last ? -1 : emit(writer, op.split)
    if (!last) nth(writer.code, split)[1] = split + 1
    write(writer, part)
    if (last) return
    ends.push(emit(writer, op.jump))
    nth(writer.code, split)[2] = writer.code.length
  })
  for (const end of ends) nth(writer.code, end)[1] = writer.code.length
}

function writeRepeat(writer: Writer, node: Extract<Node, { type: 'repeat' }>): void {
  const { part, min, max, kind } = node
  if (kind === 'possessive') writeBlock(writer, op.atomic, { ...node, kind: 'greedy' })
  else if (part.type === 'set' && kind === 'greedy')
    emit(writer, op.run, setId(writer, part), min, max === Number.POSITIVE_INFINITY ? unlimited : max)
  else writeCopies(writer, node)
}

function writeCopies(writer: Writer, { part, min, max, kind }: Extract<Node, { type: 'repeat' }>): void {
  for (let i = 0; i < min; i++) write(writer, part)
  const choose = (split: number, out: number) => {
    const body = split + 1
    nth(writer.code, split)[1] = kind === 'lazy' ? out : body
    nth(writer.code, split)[2] = kind === 'lazy' ? body : out
  }
  if (max === Number.POSITIVE_INFINITY) {
    const split = emit(writer, op.split)
    write(writer, part)
    emit(writer, op.jump, split)
    choose(split, writer.code.length)
    return
  }
  const splits: number[] = []
  for (let i = min; i < max; i++) {
    splits.push(emit(writer, op.split))
    write(writer, part)
  }
  for (const split of splits) choose(split, writer.code.length)
}

/** The most characters a node can take. */
function width(node: Node): number {
  const sum = (parts: readonly Node[]) => parts.reduce((total, part) => total + width(part), 0)
  switch (node.type) {
    case 'set':
      return 1
    case 'sequence':
      return Math.min(unlimited, sum(node.parts))
    case 'choice':
      return Math.max(...node.parts.map(width))
    case 'repeat':
      return Math.min(unlimited, width(node.part) * node.max || 0)
    case 'atomic':
      return width(node.part)
    default:
      return 0
  }
}

/** For each pc, the ASCII characters its instructions can begin with; all of them where that is hard to say. */
function firstCharacters({ code, sets }: Writer): readonly Uint8Array[] {
  const all = new Uint8Array(128).fill(1)
  if (code.length > mostForBranches) return code.map(() => all)
  const first = code.map(() => new Uint8Array(128))
  // Backwards, again and again, since loops lead back; each round only adds.
  for (let changed = true; changed; ) {
    changed = false
    for (let pc = code.length - 1; pc >= 0; pc--)
      for (const other of startsOf(nth(code, pc), pc, first, sets, all))
        for (let c = 0; c < 128; c++)
          if (nth(other, c) > nth(nth(first, pc), c)) {
            nth(first, pc)[c] = 1
            changed = true
          }
  }
  return first
}

/** The sets of characters that one instruction can begin with, given those of the others. */
function startsOf(
  [kind, a, b]: readonly [number, number, number, number],
  pc: number,
  first: readonly Uint8Array[],
  sets: readonly CharSet[],
  all: Uint8Array,
): Uint8Array[] {
  switch (kind) {
    case op.set:
      return [nth(sets, a).ascii]
    case op.run:
      return b === 0 ? [nth(sets, a).ascii, nth(first, pc + 1)] : [nth(sets, a).ascii]
    case op.split:
      return [nth(first, a), nth(first, b)]
    case op.jump:
      return [nth(first, a)]
    default:
      return [all]
  }
}

function merged(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((value, c) => value | (nth(b, c) << 1))
}
