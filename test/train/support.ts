// A tiny encoder and a made-up task that it can learn.

import type { Example } from '../../lib/data/example.ts'
import { maskTokens } from '../../lib/data/maskedLm.ts'
import { headOf } from '../../lib/heads/index.ts'
import type { ModelConfig } from '../../lib/io/config.ts'
import { createModel, type Model, type ModelOptions } from '../../lib/model.ts'
import type { Adapter } from '../../lib/peft/adapter.ts'
import { attach } from '../../lib/peft/attach.ts'
import { lora } from '../../lib/peft/lora.ts'
import { random } from '../../lib/random.ts'
import type { TrainData, TrainEvent, TrainOptions } from '../../lib/train/events.ts'
import { train } from '../../lib/train/train.ts'

export const LABELS = ['low', 'middle', 'high']
const VOCAB = 60

export function tinyConfig(values: Record<string, number> = {}): ModelConfig {
  return {
    path: 'config.json',
    modelType: 'bert',
    values: {
      model_type: 'bert',
      vocab_size: VOCAB,
      hidden_size: 32,
      num_hidden_layers: 2,
      num_attention_heads: 2,
      intermediate_size: 64,
      max_position_embeddings: 64,
      type_vocab_size: 2,
      pad_token_id: 0,
      hidden_dropout_prob: 0.1,
      attention_probs_dropout_prob: 0.1,
      initializer_range: 0.1,
      ...values,
    },
  }
}

export function tinyModel(options: Partial<ModelOptions> = {}, values: Record<string, number> = {}): Model {
  const { task = 'sequence-classification' } = options
  const labels = headOf(task).isLabelled ? LABELS : undefined
  return createModel(tinyConfig(values), { task, labels, seed: 1, ...options })
}

/** A tiny decoder of Llama's kind. */
export function tinyDecoder(options: Partial<ModelOptions> = {}): Model {
  const {
    hidden_dropout_prob: _,
    attention_probs_dropout_prob: __,
    type_vocab_size: ___,
    ...values
  } = tinyConfig().values
  const more = { model_type: 'llama', num_key_value_heads: 1, attention_dropout: 0.1, bos_token_id: 1, eos_token_id: 2 }
  const config = { path: 'config.json', modelType: 'llama', values: { ...values, ...more } }
  return createModel(config, { task: 'causal-lm', seed: 1, ...options })
}

/** A tiny T5, version 1.1. */
export function tinySeq2seq(options: Partial<ModelOptions> = {}): Model {
  const values = {
    model_type: 't5',
    vocab_size: VOCAB,
    d_model: 32,
    d_kv: 8,
    d_ff: 48,
    num_heads: 2,
    num_layers: 2,
    relative_attention_num_buckets: 8,
    relative_attention_max_distance: 10,
    feed_forward_proj: 'gated-gelu',
    dropout_rate: 0.1,
    initializer_range: 0.1,
    pad_token_id: 0,
    eos_token_id: 1,
    decoder_start_token_id: 0,
  }
  return createModel({ path: 'config.json', modelType: 't5', values }, { task: 'seq2seq-lm', seed: 1, ...options })
}

/** What is to be said to ragged sequences: their first tokens, the last of them first, and the end. */
export function answers(count: number, seed = 8): Example[] {
  return sequences(count, seed).map(({ label: _, ...rest }) => {
    const said = [...rest.ids.subarray(0, 1 + (rest.ids[0]! % 4))].reverse()
    return { ...rest, target: Int32Array.of(...said, 1) }
  })
}

/** Sequences that count up: the next token follows from the last. */
export function counting(count: number, seed = 5): (Example & { readonly label: Int32Array })[] {
  return sequences(count, seed).map(example => {
    const ids = example.ids.map((_, t) => 3 + ((example.ids[0]! + t) % 50))
    return { ...example, ids, label: ids.slice() }
  })
}

export const tinyLora = (model: Model, options = {}): Adapter<Model> =>
  attach(model, lora({ r: 4, alpha: 8, dropout: 0.1, ...options }), { seed: 3 })

export function row(line: number): Example['row'] {
  return { values: {}, file: 'made up', line } as Example['row']
}

/** Masked LM of {@link sequences}. */
export const hideTokens = maskTokens({ maskId: 1, vocabSize: VOCAB, specialIds: new Set([0, 1, 2]) })

/** Ragged sequences of random words; the class is the third that the third token lies in. */
export function sequences(count: number, seed = 5, longest = 14): Example[] {
  const rng = random(seed, 'examples')
  return Array.from({ length: count }, (_, line) => {
    const ids = Int32Array.from({ length: 4 + rng.below(longest - 4) }, () => 3 + rng.below(VOCAB - 3))
    return { ids, label: Math.floor(((ids[2]! - 3) * LABELS.length) / (VOCAB - 3)), truncated: false, row: row(line) }
  })
}

/** Tagged sentences of one piece a word: words above the middle of the vocabulary are entities. */
export function sentences(count: number, seed = 6): Example[] {
  return sequences(count, seed).map(({ ids, ...rest }) => {
    const isEntity = (id: number | undefined) => id !== undefined && id > 40
    const label = ids.map((id, t) => (t === 0 ? -100 : isEntity(id) ? (t > 1 && isEntity(ids[t - 1]) ? 2 : 1) : 0))
    return { ...rest, ids, label, wordIds: ids.map((_, t) => t - 1) }
  })
}

export const TAGS = ['O', 'B-X', 'I-X']

/** All events of a run. */
export async function runToEnd(
  adapter: Adapter<Model>,
  data: TrainData,
  options?: TrainOptions,
  told?: (event: TrainEvent) => void,
): Promise<TrainEvent[]> {
  const events: TrainEvent[] = []
  for await (const event of train(adapter, data, options)) {
    events.push(event)
    told?.(event)
  }
  return events
}

export function eventsOf<T extends TrainEvent['type']>(events: readonly TrainEvent[], type: T) {
  return events.filter((event): event is Extract<TrainEvent, { type: T }> => event.type === type)
}

/** The trained numbers of a method, as hexadecimal text: equal only when the bytes are. */
export async function trainedBytes(method: Adapter): Promise<string> {
  const parts: string[] = []
  for (const { name, tensor } of method.trainable) parts.push(name, Buffer.from(await tensor.bytes()).toString('hex'))
  return parts.join('\n')
}
