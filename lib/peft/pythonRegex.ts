// target_modules and pattern keys in an adapter's config are Python regular expressions, and PEFT will read ours as
// such. A stranger may have written them, so they are matched without backtracking for ever.

import { brief, fail } from '../errors.ts'
import { Regex, RegexError } from '../regex/regex.ts'

/** How a pattern is applied: Python's `re.fullmatch` or `re.match` (from the start, not to the end). */
type MatchMode = 'full' | 'start'

/** A pattern ready to be tried on module paths. */
export interface PathPattern {
  /** @throws ERR_OPTION when matching takes more steps than any sound pattern needs. */
  test(path: string): boolean
  /** Length of the match a path begins with; −1 without one. */
  length(path: string): number
}

/** A Python pattern. Not a pattern, or one that cannot be matched here: `ERR_OPTION` naming `option`. */
export function pythonRegex(pattern: string, option: string, mode: MatchMode): PathPattern {
  const refused = <T>(run: () => T): T => {
    try {
      return run()
    } catch (error) {
      if (!(error instanceof RegexError)) throw error
      fail(
        'ERR_OPTION',
        `${option}: "${brief(pattern)}" ${error.message}, so it cannot be matched here; write it without`,
        error,
      )
    }
  }
  const regex = refused(() => new Regex(pattern, 'python'))
  const length = (path: string) => refused(() => regex.endAtStart(path))
  const all = (path: string) => refused(() => regex.matchesAll(path))
  return { length, test: mode === 'full' ? all : path => length(path) >= 0 }
}
