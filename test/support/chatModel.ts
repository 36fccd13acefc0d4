// Tiny decoders: random weights, the byte-level tokenizer of the golden templates, ChatML where they chat.

import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createModel } from '../../lib/model.ts'
import { saveMerged } from '../../lib/peft/merged.ts'
import { temporaryFolder } from './temporary.ts'

const golden = fileURLToPath(new URL('../golden/chat/', import.meta.url))
/** Where the ids of that tokenizer end, and that of `<|im_end|>`. */
const TOKENS = { vocab_size: 720, eos_token_id: 702 }

/** A Hugging Face folder of a model of random weights, with the tokenizer of the templates. */
async function folderOf(name: string, modelType: string, values: Record<string, number | string>): Promise<string> {
  const folder = join(temporaryFolder(), name)
  const config = { path: 'config.json', modelType, values: { model_type: modelType, ...TOKENS, ...values } }
  using model = createModel(config, { task: 'causal-lm', seed: 4 })
  await saveMerged(model, folder)
  copyFileSync(join(golden, 'tokenizer.json'), join(folder, 'tokenizer.json'))
  return folder
}

/** A Hugging Face folder of a tiny GPT-2, which has no chat template. */
export async function gpt2Folder(): Promise<string> {
  return await folderOf('tiny-gpt2', 'gpt2', { n_embd: 64, n_layer: 2, n_head: 4, n_positions: 256 })
}

/** A Hugging Face folder of a tiny Llama that chats. */
export async function chatModelFolder(values: Record<string, number> = {}): Promise<string> {
  const folder = await folderOf('tiny-chat', 'llama', {
    hidden_size: 64,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    intermediate_size: 128,
    max_position_embeddings: 256,
    initializer_range: 0.05,
    rms_norm_eps: 1e-6,
    ...values,
  })
  const tokens = { bos_token: '<|im_start|>', eos_token: '<|im_end|>', pad_token: '<|endoftext|>' }
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify(tokens))
  copyFileSync(join(golden, 'templates/chatml.jinja'), join(folder, 'chat_template.jinja'))
  return folder
}

/** Questions that have one answer each, as messages. */
export function capitals(count: number): { messages: { role: string; content: string }[] }[] {
  const known = [
    ['France', 'Paris'],
    ['Italy', 'Rome'],
    ['Spain', 'Madrid'],
    ['Norway', 'Oslo'],
  ] as const
  return Array.from({ length: count }, (_, i) => {
    const [country, city] = known[i % known.length]!
    return {
      messages: [
        { role: 'user', content: `What is the capital of ${country}?` },
        { role: 'assistant', content: city },
      ],
    }
  })
}
