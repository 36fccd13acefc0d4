// Regular expressions of strangers: those of tokenizer.json and of adapters' configs. JavaScript's own would run for
// ever on some. Here a state (instruction, place in the text) that once failed is never tried again, which makes
// nearly all of them linear in the text; what is left ends at a limit of steps.

import { compile, type Program } from './compile.ts'
import type { Dialect } from './cursor.ts'
import { Matcher } from './match.ts'
import { parse } from './parse.ts'

export { RegexError } from './error.ts'

/** A pattern ready to match. */
export class Regex {
  readonly #program: Program

  /** @throws {@link RegexError} for what is no pattern or cannot be matched here. */
  constructor(pattern: string, dialect: Dialect) {
    this.#program = compile(parse(pattern, dialect))
  }

  /** Every match as [start, end, start, end, …], leftmost first, none within another; ends are exclusive. */
  matches(text: string): number[] {
    const matcher = new Matcher(this.#program, text)
    const found: number[] = []
    let last = -1
    for (let at = 0; at <= text.length; ) {
      const end = matcher.run(0, at)
      // An empty match right after a match counts as part of it.
      if (end >= 0 && !(end === at && end === last)) {
        found.push(at, end)
        last = end
        matcher.forget(end)
      }
      at = end > at ? end : at + widthAt(text, at)
    }
    return found
  }

  /** Where the match ends that begins where the text does; −1 without one. */
  endAtStart(text: string): number {
    return new Matcher(this.#program, text).run(0, 0)
  }

  /** Whether the whole text is a match. */
  matchesAll(text: string): boolean {
    return new Matcher(this.#program, text, text.length).run(0, 0) >= 0
  }
}

const widthAt = (text: string, at: number) => (text.codePointAt(at)! > 0xffff ? 2 : 1)
