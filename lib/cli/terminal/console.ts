// Results on standard output, everything else on standard error.

import { styleText } from 'node:util'
import { LowrankError, messageOf } from '../../errors.ts'
import { nonFiniteAsText } from '../../io/json.ts'
import { explained } from '../../io/systemError.ts'
import { visible } from './visible.ts'

/** Where a command writes. */
export interface Console {
  readonly json: boolean
  readonly quiet: boolean
  /** Standard output is a terminal that takes colours. */
  readonly color: boolean
  /** The reader of standard output is gone. */
  readonly closed: boolean
  /** Cells of a line of standard output. */
  readonly columns: number
  /** A result for people; nothing under --json. */
  line(text?: string): void
  /** A part of a line for people, as it comes; nothing under --json. */
  text(part: string): void
  /** A result for programs, one line; nothing without --json. */
  event(record: object): void
  /** A notice on standard error. */
  note(text: string): void
  /** A warning on standard error, also under --quiet; options in it are named as they were given. */
  warn(text: string): void
  /** A message with its options named as they were given. */
  named(message: string): string
}

type Style = Parameters<typeof styleText>[0]

/** `text` in a style, where `on`. */
export function paint(on: boolean, style: Style, text: string): string {
  return on ? styleText(style, text, { validateStream: false }) : text
}

/** Whether a stream shows colours. */
function showsColor(stream: { isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): boolean {
  return stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb'
}

let broken = false
let guarded = false

/**
 * Output that cannot be written ends no run. A reader that closes the pipe (`| head`) has seen enough; anything else,
 * such as a full disk, is told, and the exit code says so.
 */
export function guardOutput(): void {
  if (guarded) return
  guarded = true
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (stream === process.stdout) broken = true
      if (error.code === 'EPIPE') return
      process.exitCode = 1
      const told = explained('the standard output', error)
      const name = told instanceof LowrankError ? told.code : error.code
      if (stream === process.stdout) process.stderr.write(`error ${name}: ${messageOf(told)}\n`)
    })
}

/** JSON, in one line unless it is indented: NaN and infinities as texts, typed arrays as lists. */
export function plainJson(record: object, indent = 0): string {
  const plain = (key: string, value: unknown) =>
    ArrayBuffer.isView(value) ? Object.values(value) : nonFiniteAsText(key, value)
  return JSON.stringify(record, plain, indent)
}

const escapeControl = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`

interface Ways {
  readonly json: boolean
  readonly quiet: boolean
  /** Default: as it is. */
  readonly named?: Console['named']
}

export function createConsole({ json, quiet, named = message => message }: Ways): Console {
  guardOutput()
  const out = (text: string): void => {
    if (!broken) process.stdout.write(text)
  }
  return {
    json,
    quiet,
    named,
    color: showsColor(process.stdout),
    get closed() {
      return broken
    },
    get columns() {
      return process.stdout.columns || 100
    },
    line: (text = '') => {
      if (!json) out(`${visible(text, showsColor(process.stdout))}\n`)
    },
    text: part => {
      if (!json) out(visible(part, showsColor(process.stdout)))
    },
    event: record => {
      // JSON escapes the first 32 of them by itself.
      if (json) out(`${plainJson(record).replace(/\p{Cc}/gu, escapeControl)}\n`)
    },
    note: text => {
      if (!quiet) process.stderr.write(`${visible(text)}\n`)
    },
    warn: text => {
      process.stderr.write(`${paint(showsColor(process.stderr), 'yellow', 'warning')}: ${visible(named(text))}\n`)
    },
  }
}
