// Lines that somebody types, or a program writes.

import { createInterface } from 'node:readline'

/** Lines of a stream that are not blank. */
export async function* linesOf(input: NodeJS.ReadableStream): AsyncGenerator<string> {
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY }))
    if (line.trim() !== '') yield line
}
