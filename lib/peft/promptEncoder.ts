// P-tuning (Liu et al. 2021): virtual tokens that a network makes while it trains.

import { check } from '../errors.ts'
import type { Field } from './fields.ts'
import { type Method, type MethodKind, methodOfKind } from './method.ts'
import { NETWORK_FIELD, type NetworkOptions, type PromptOptions, promptPlacement, VIRTUAL_FIELDS } from './prompt.ts'
import { virtualNetwork } from './virtualNetwork.ts'

const NETWORKS = ['MLP', 'LSTM'] as const

/** Options of {@link promptEncoder}. */
export interface PromptEncoderOptions extends PromptOptions, NetworkOptions {
  /** What makes the virtual tokens; an LSTM stands in files alone, which hold what it gave. Default 'MLP'. */
  encoderReparameterizationType?: (typeof NETWORKS)[number]
}

const network: Field<'encoderReparameterizationType'> = {
  name: 'encoderReparameterizationType',
  peft: 'encoder_reparameterization_type',
  kind: 'choice',
  default: 'MLP',
  choices: NETWORKS,
  help: 'Network that makes virtual tokens; LSTM in files alone',
  isFound: true,
}

export const PROMPT_ENCODER: MethodKind<PromptEncoderOptions> = {
  type: 'ptuning',
  peftType: 'P_TUNING',
  title: 'P-tuning',
  help: 'a network that makes word embeddings of virtual tokens before each text',
  lr: 1e-3,
  fields: [...VIRTUAL_FIELDS, NETWORK_FIELD, network],
  // Of an LSTM alone.
  keys: { encoder_dropout: 0, encoder_num_layers: 2 },
  place(host, options, context) {
    return promptPlacement(host, options, context, (rows, hidden) => {
      check(options.encoderReparameterizationType === 'MLP', 'ERR_UNSUPPORTED', () => {
        return 'encoderReparameterizationType: LSTM is not built; take MLP, as PEFT does by itself'
      })
      const { outFeatures: width } = host.backbone.wordEmbeddings
      return virtualNetwork(rows, [width, hidden, hidden, width], 'relu', context)
    })
  },
}

/** P-tuning: the model reads vectors before each text, which a small network makes. docs/methods.md. */
export function promptEncoder(options: PromptEncoderOptions = {}): Method {
  return methodOfKind(PROMPT_ENCODER, options)
}
