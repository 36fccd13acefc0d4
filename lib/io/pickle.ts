// Python's pickle as data: a stack machine of which everything that could run code is left out. Objects of other
// kinds than those asked for are refused by name.

import { fail } from '../errors.ts'
import { nth } from '../tuple.ts'

/** A name of a Python module, as `collections.OrderedDict`. */
export class PyName {
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

/** What a name stood for was asked to be made of; nothing was called. */
export class PyCall {
  readonly name: string
  readonly args: readonly unknown[]

  constructor(name: string, args: readonly unknown[]) {
    this.name = name
    this.args = args
  }
}

/** A tensor's storage and other things that lie beside the pickle. */
export class PyPersistent {
  readonly id: unknown

  constructor(id: unknown) {
    this.id = id
  }
}

interface Machine {
  readonly path: string
  readonly view: DataView
  readonly bytes: Uint8Array
  readonly allowed: ReadonlySet<string>
  readonly stack: unknown[]
  /** Lengths of the stack at open marks. */
  readonly marks: number[]
  readonly memo: Map<number, unknown>
  at: number
}

/**
 * The value of a pickle of protocol 2 to 5: dictionaries as Maps, lists and tuples as arrays.
 * @param allowed names that may occur; they are never called
 * @throws ERR_UNSUPPORTED naming what else occurs, ERR_CHECKPOINT for a broken pickle
 */
export function readPickle(path: string, bytes: Uint8Array, allowed: ReadonlySet<string>): unknown {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const machine: Machine = { path, view, bytes, allowed, stack: [], marks: [], memo: new Map(), at: 0 }
  try {
    for (;;) {
      const code = view.getUint8(machine.at++)
      if (code === 0x2e) return pop(machine)
      const step = steps.get(code)
      if (!step) {
        const shown = `0x${code.toString(16).padStart(2, '0')}`
        fail('ERR_UNSUPPORTED', `${path}: its pickle uses the instruction ${shown}, which weights do not need`)
      }
      step(machine)
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    fail('ERR_CHECKPOINT', `${path}: its pickle is broken at byte ${machine.at} of ${bytes.length}`, error)
  }
}

const char = (letter: string) => letter.charCodeAt(0)

function pop({ stack, marks }: Machine): unknown {
  if (stack.length === 0 || stack.length <= (marks.at(-1) ?? -1)) throw new RangeError('empty stack')
  return stack.pop()
}

function popMark({ stack, marks }: Machine): unknown[] {
  const mark = marks.pop()
  if (mark === undefined) throw new RangeError('no mark')
  return stack.splice(mark)
}

/** Moves on and gives the bytes passed. */
function take(machine: Machine, length: number): Uint8Array {
  const from = machine.at
  if (from + length > machine.bytes.length) throw new RangeError('past the end')
  machine.at += length
  return machine.bytes.subarray(from, machine.at)
}

const unsigned = (machine: Machine, length: 1 | 2 | 4): number => {
  const { view, at } = machine
  machine.at += length
  return length === 1 ? view.getUint8(at) : length === 2 ? view.getUint16(at, true) : view.getUint32(at, true)
}

function text(machine: Machine, length: number): string {
  return Buffer.from(take(machine, length)).toString('utf8')
}

function line(machine: Machine): string {
  const end = machine.bytes.indexOf(10, machine.at)
  if (end < 0) throw new RangeError('no line')
  const found = text(machine, end - machine.at)
  machine.at++
  return found
}

function named(machine: Machine, name: string): PyName {
  if (!machine.allowed.has(name))
    fail(
      'ERR_UNSUPPORTED',
      `${machine.path}: its pickle asks for ${name.slice(0, 100)}, which is no part of weights; nothing was run`,
    )
  return new PyName(name)
}

function setItems(target: unknown, items: readonly unknown[]): void {
  if (!(target instanceof Map)) throw new RangeError('no dictionary')
  for (let i = 0; i + 1 < items.length; i += 2) target.set(items[i], items[i + 1])
}

function append(target: unknown, items: readonly unknown[]): void {
  if (!Array.isArray(target)) throw new RangeError('no list')
  for (const item of items) target.push(item)
}

/** A whole number of any length, little-endian in two's complement; past 2^53 it is no length of anything here. */
function long(machine: Machine): number {
  const bytes = take(machine, unsigned(machine, 1))
  let value = 0n
  for (let i = bytes.length - 1; i >= 0; i--) value = (value << 8n) | BigInt(nth(bytes, i))
  return Number(BigInt.asIntN(8 * bytes.length || 1, value))
}

function call(machine: Machine): unknown {
  const args = pop(machine)
  const name = pop(machine)
  if (!(name instanceof PyName) || !Array.isArray(args)) throw new RangeError('no call')
  return name.name === 'collections.OrderedDict' && args.length === 0 ? new Map() : new PyCall(name.name, args)
}

function remember(machine: Machine, index: number): void {
  machine.memo.set(index, machine.stack.at(-1))
}

function recall(machine: Machine, index: number): void {
  if (!machine.memo.has(index)) throw new RangeError('not in the memo')
  machine.stack.push(machine.memo.get(index))
}

const push = (make: (machine: Machine) => unknown) => (machine: Machine) => {
  machine.stack.push(make(machine))
}
const tuple = (length: number) =>
  push(machine => {
    const items = Array.from({ length }, () => pop(machine))
    return items.reverse()
  })

const steps = new Map<number, (machine: Machine) => void>([
  [0x80, machine => void unsigned(machine, 1)], // PROTO
  [0x95, machine => void take(machine, 8)], // FRAME
  [char('('), ({ stack, marks }) => void marks.push(stack.length)],
  [char('0'), machine => void pop(machine)],
  [char('N'), push(() => null)],
  [0x88, push(() => true)],
  [0x89, push(() => false)],
  [char('J'), push(machine => unsigned(machine, 4) | 0)],
  [char('K'), push(machine => unsigned(machine, 1))],
  [char('M'), push(machine => unsigned(machine, 2))],
  [0x8a, push(long)],
  [char('G'), push(machine => new DataView(Uint8Array.from(take(machine, 8)).buffer).getFloat64(0))],
  [char('X'), push(machine => text(machine, unsigned(machine, 4)))],
  [0x8c, push(machine => text(machine, unsigned(machine, 1)))],
  [char('U'), push(machine => text(machine, unsigned(machine, 1)))],
  [char('T'), push(machine => text(machine, unsigned(machine, 4)))],
  [char('}'), push(() => new Map())],
  [char(']'), push(() => [])],
  [char(')'), push(() => [])],
  [char('t'), push(popMark)],
  [char('l'), push(popMark)],
  [0x85, tuple(1)],
  [0x86, tuple(2)],
  [0x87, tuple(3)],
  [char('q'), machine => remember(machine, unsigned(machine, 1))],
  [char('r'), machine => remember(machine, unsigned(machine, 4))],
  [0x94, machine => remember(machine, machine.memo.size)],
  [char('h'), machine => recall(machine, unsigned(machine, 1))],
  [char('j'), machine => recall(machine, unsigned(machine, 4))],
  [char('c'), push(machine => named(machine, `${line(machine)}.${line(machine)}`))],
  [0x93, push(machine => named(machine, [pop(machine), pop(machine)].reverse().map(String).join('.')))],
  [char('Q'), push(machine => new PyPersistent(pop(machine)))],
  [char('R'), push(call)],
  [char('b'), machine => void pop(machine)], // attributes of a dictionary, such as torch's _metadata
  [
    char('s'),
    machine => {
      const [value, key] = [pop(machine), pop(machine)]
      setItems(machine.stack.at(-1), [key, value])
    },
  ],
  [
    char('u'),
    machine => {
      const items = popMark(machine)
      setItems(machine.stack.at(-1), items)
    },
  ],
  [
    char('a'),
    machine => {
      const item = pop(machine)
      append(machine.stack.at(-1), [item])
    },
  ],
  [
    char('e'),
    machine => {
      const items = popMark(machine)
      append(machine.stack.at(-1), items)
    },
  ],
])
