import { join } from 'node:path'
import { writeFileAtomic } from '../io/atomic.ts'
import type { TokenizerFiles } from './files.ts'
import { asArray, asObject } from './json.ts'

/** Keys of tokenizer.json that Python's library wants, in its order. */
const whole = { version: '1.0', truncation: null, padding: null }
const token = { single_word: false, lstrip: false, rstrip: false, normalized: false }

/** Writes a tokenizer as the files of a Hugging Face folder. */
export async function writeTokenizer({ tokenizer, config, templates }: TokenizerFiles, into: string): Promise<void> {
  const { added_tokens: added, ...parts } = tokenizer
  const filled = asArray(added).map(each => ({ ...token, ...asObject(each) }))
  const json = (value: unknown) => JSON.stringify(value, undefined, 2)
  await writeFileAtomic(join(into, 'tokenizer.json'), json({ ...whole, added_tokens: filled, ...parts }))
  const settings = { ...config, tokenizer_class: 'PreTrainedTokenizerFast' }
  await writeFileAtomic(join(into, 'tokenizer_config.json'), `${json(settings)}\n`)
  const { default: main } = templates
  if (main !== undefined) await writeFileAtomic(join(into, 'chat_template.jinja'), main)
}
