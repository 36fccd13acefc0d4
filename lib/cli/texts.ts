// Texts that stand on the command line.

import { statSync } from 'node:fs'
import { holdsRows } from '../data/open.ts'
import { check } from '../errors.ts'
import type { Settings } from './options/options.ts'

/**
 * The texts given; undefined where the standard input holds them, which "-" alone says too.
 * @param cure how the texts of a file are read
 * @throws ERR_OPTION for the name of a file with texts, whose name alone would be read
 */
export function typedTexts({ texts }: Settings, cure: string): readonly string[] | undefined {
  if (texts?.length === 1 && texts[0] === '-') return undefined
  for (const text of texts ?? [])
    check(!isFileOfTexts(text), 'ERR_OPTION', () => `texts: "${text}" is a file, not a text; ${cure}`)
  return texts
}

function isFileOfTexts(text: string): boolean {
  const isNamed = holdsRows(text) || /\.txt$/i.test(text)
  return isNamed && statSync(text, { throwIfNoEntry: false })?.isFile() === true
}
