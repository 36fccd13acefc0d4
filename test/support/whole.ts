import { cpSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { MODELS } from '../peft/golden.ts'
import { temporaryFolder } from './temporary.ts'

/** A folder of a tiny whole model with a tokenizer of the words a and b. */
export function whole(name: string): string {
  const folder = join(temporaryFolder(), name)
  cpSync(join(MODELS, name), folder, { recursive: true })
  writeFileSync(join(folder, 'vocab.txt'), ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'a', 'b'].join('\n'))
  return folder
}
