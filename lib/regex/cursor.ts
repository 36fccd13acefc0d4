// What the parsers of patterns, classes and escapes hand to each other.

/** Whose pattern it is. */
export type Dialect = 'onig' | 'python'

export type Anchor = 'start' | 'end' | 'endOrLine' | 'lineStart' | 'lineEnd' | 'boundary' | 'inside'

/** Where a parser stands, and the flags that hold there. */
export interface PatternCursor {
  readonly pattern: string
  readonly dialect: Dialect
  at: number
  depth: number
  ignoreCase: boolean
  dotAll: boolean
  multiline: boolean
}
