// Runs a program over a text, by backtracking that remembers which states failed.

import { anchors, op, type Program } from './compile.ts'
import { RegexError } from './error.ts'
import { loneWord } from './sets.ts'

const stepsAtLeast = 1e7
const stepsPerCharacter = 200

/** One program on one text. */
export class Matcher {
  readonly #program: Program
  readonly #text: string
  readonly #maxSteps: number
  #steps = 0
  // Places tried by pc, as bits; inside looks and atomic groups, whose states are others, by number.
  readonly #tried: (Uint32Array | undefined)[] = []
  #inner: Set<number> | undefined
  /** Where a match must end; −1 anywhere. */
  #mustEnd: number
  // Frames of three: a pc, a place, and −1; or of a run the pc, the place it gives back to next, and the lowest one.
  #stack = new Int32Array(96)
  #top = 0

  constructor(program: Program, text: string, mustEnd = -1) {
    this.#program = program
    this.#text = text
    this.#mustEnd = mustEnd
    this.#maxSteps = stepsAtLeast + stepsPerCharacter * text.length
  }

  /** The end of the match of the instructions at `pc` that begins at `at`, or −1. @throws RegexError at the limit. */
  run(pc: number, at: number): number {
    const bottom = this.#top
    let end = this.#follow(pc, at)
    while (end < 0 && this.#top > bottom) {
      this.#top -= 3
      const next = this.#stack[this.#top]!
      const place = this.#stack[this.#top + 1]!
      const lowest = this.#stack[this.#top + 2]!
      if (lowest < 0) end = this.#follow(next, place)
      else {
        if (place > lowest) this.#push(next, this.#before(place), lowest)
        if (!this.#seen(next, place)) end = this.#follow(next + 1, place)
      }
    }
    this.#top = bottom
    return end
  }

  /** Lets the states of a place be tried again: those on the way to a match that ends there did not fail. */
  forget(at: number): void {
    for (const bits of this.#tried) if (bits) bits[at >> 5]! &= ~(1 << (at & 31))
  }

  /** Follows one thread to a match (its end) or a failure (−1). */
  #follow(from: number, place: number): number {
    const { ops, a, b, sets, branches } = this.#program
    let pc = from
    let at = place
    for (;;) {
      this.#count(1)
      switch (ops[pc]) {
        case op.set: {
          const codePoint = this.#text.codePointAt(at)
          if (codePoint === undefined || !sets[a[pc]!]!.has(codePoint)) return -1
          at += codePoint > 0xffff ? 2 : 1
          pc++
          break
        }
        case op.run:
          at = this.#runOf(pc, at)
          if (at < 0) return -1
          pc++
          break
        case op.split: {
          const unit = this.#text.charCodeAt(at)
          const open = unit < 128 ? branches[pc]![unit]! : 3
          if (open === 0 || this.#seen(pc, at)) return -1
          if (open === 3) this.#push(b[pc]!, at, -1)
          pc = open === 2 ? b[pc]! : a[pc]!
          break
        }
        case op.jump:
          pc = a[pc]!
          break
        case op.match:
          return this.#mustEnd < 0 || at === this.#mustEnd ? at : -1
        default:
          at = this.#passes(pc, at)
          if (at < 0) return -1
          pc = ops[pc] === op.look || ops[pc] === op.atomic ? a[pc]! : pc + 1
      }
    }
  }

  /** Where anchors, looks and atomic groups leave off, or −1. */
  #passes(pc: number, at: number): number {
    const { ops, a, b, c, sets } = this.#program
    switch (ops[pc]) {
      case op.anchor:
        return this.#anchored(a[pc]!, at) ? at : -1
      case op.lookSet: {
        const codePoint = this.#text.codePointAt(at)
        const inSet = codePoint !== undefined && sets[a[pc]!]!.has(codePoint)
        return inSet === (b[pc] === 0) ? at : -1
      }
      case op.look: {
        const found = c[pc] === 0 ? this.#inside(pc + 1, at, -1) >= 0 : this.#behind(pc + 1, at, c[pc]! - 1)
        return found === (b[pc] === 0) ? at : -1
      }
      default:
        return this.#inside(pc + 1, at, -1)
    }
  }

  /** Takes all of a run that there is, and leaves a frame for what it may give back; −1 when that fails. */
  #runOf(pc: number, from: number): number {
    const { a, b, c, sets } = this.#program
    const set = sets[a[pc]!]!
    const text = this.#text
    const min = b[pc]!
    const max = c[pc]!
    let at = from
    let lowest = min === 0 ? from : -1
    for (let count = 0; count < max; ) {
      const codePoint = text.codePointAt(at)
      if (codePoint === undefined || !set.has(codePoint)) break
      at += codePoint > 0xffff ? 2 : 1
      if (++count === min) lowest = at
    }
    this.#count(at - from)
    if (lowest < 0) return -1
    if (at > lowest) this.#push(pc, this.#before(at), lowest)
    return this.#seen(pc, at) ? -1 : at
  }

  #inside(pc: number, at: number, mustEnd: number): number {
    const saved = { inner: this.#inner, mustEnd: this.#mustEnd }
    this.#inner = new Set()
    this.#mustEnd = mustEnd
    const end = this.run(pc, at)
    this.#inner = saved.inner
    this.#mustEnd = saved.mustEnd
    return end
  }

  #behind(pc: number, at: number, width: number): boolean {
    for (let start = at, count = 0; ; count++) {
      if (this.#inside(pc, start, at) >= 0) return true
      if (start === 0 || count >= width) return false
      start = this.#before(start)
    }
  }

  #anchored(anchor: number, at: number): boolean {
    const { length } = this.#text
    const next = this.#text.charCodeAt(at)
    switch (anchors[anchor]) {
      case 'start':
        return at === 0
      case 'end':
        return at === length
      case 'endOrLine':
        return at === length || (at === length - 1 && next === 10)
      case 'lineStart':
        return at === 0 || (this.#text.charCodeAt(at - 1) === 10 && at < length)
      case 'lineEnd':
        return at === length || next === 10
      case 'boundary':
        return this.#wordBefore(at) !== this.#wordAt(at)
      default:
        return this.#wordBefore(at) === this.#wordAt(at)
    }
  }

  #wordAt(at: number): boolean {
    const codePoint = this.#text.codePointAt(at)
    return codePoint !== undefined && loneWord(codePoint)
  }

  #wordBefore(at: number): boolean {
    return at > 0 && this.#wordAt(this.#before(at))
  }

  /** The place one character before another. */
  #before(at: number): number {
    return at - (at > 1 && this.#text.codePointAt(at - 2)! > 0xffff ? 2 : 1)
  }

  /** Whether a state was tried before; marks it. */
  #seen(pc: number, at: number): boolean {
    if (this.#inner) {
      const key = pc * (this.#text.length + 1) + at
      if (this.#inner.has(key)) return true
      this.#inner.add(key)
      return false
    }
    let bits = this.#tried[pc]
    if (!bits) {
      bits = new Uint32Array((this.#text.length >> 5) + 1)
      this.#tried[pc] = bits
    }
    const bit = 1 << (at & 31)
    if (bits[at >> 5]! & bit) return true
    bits[at >> 5]! |= bit
    return false
  }

  #push(pc: number, at: number, lowest: number): void {
    if (this.#top + 3 > this.#stack.length) {
      const larger = new Int32Array(this.#stack.length * 2)
      larger.set(this.#stack)
      this.#stack = larger
    }
    this.#stack[this.#top] = pc
    this.#stack[this.#top + 1] = at
    this.#stack[this.#top + 2] = lowest
    this.#top += 3
  }

  #count(steps: number): void {
    this.#steps += steps
    if (this.#steps > this.#maxSteps)
      throw new RegexError(`takes more than ${this.#maxSteps} steps on a text of ${this.#text.length} characters`)
  }
}
