// Lines that somebody types, or a program writes.

import { type EncodingOptions, type Line, linesIn } from '../../data/lines.ts'

/** Lines of the standard input that are not blank, by the rules of files: strict UTF-8, or the encoding named. */
export async function* typedLines(options: EncodingOptions = {}): AsyncGenerator<Line> {
  for await (const line of linesIn('standard input', bytesOf(process.stdin), options))
    if (line.text.trim() !== '') yield line
}

async function* bytesOf(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield* input
}
