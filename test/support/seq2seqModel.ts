// A tiny T5 with the tokenizer of the golden encodings: random weights.

import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../lib/io/package.ts'
import { createModel } from '../../lib/model.ts'
import { saveMerged } from '../../lib/peft/merged.ts'
import { temporaryFolder } from './temporary.ts'

export const VOCABULARY = 720
export const HIDDEN = 64

/** A Hugging Face folder of it. */
export async function seq2seqFolder(): Promise<string> {
  const folder = join(temporaryFolder(), 'tiny-t5')
  const values = {
    model_type: 't5',
    vocab_size: VOCABULARY,
    d_model: HIDDEN,
    d_kv: 16,
    d_ff: 128,
    num_heads: 4,
    num_layers: 2,
    dropout_rate: 0,
    initializer_range: 0.05,
    pad_token_id: 0,
    eos_token_id: 1,
    decoder_start_token_id: 0,
  }
  using model = createModel({ path: 'config.json', modelType: 't5', values }, { task: 'seq2seq-lm', seed: 1 })
  await saveMerged(model, folder)
  copyFileSync(join(packageRoot, 'test/golden/tokenizer/t5.json'), join(folder, 'tokenizer.json'))
  writeFileSync(join(folder, 'tokenizer_config.json'), '{"model_max_length": 32}')
  return folder
}
