// Virtual tokens that train: prompt tuning (Lester et al. 2021) and prefix tuning (Li and Liang 2021).

import { check } from '../errors.ts'
import type { PyObject } from '../io/json.ts'
import { normal } from '../nn/init.ts'
import type { Parameter } from '../nn/module.ts'
import { isTexts } from '../tuple.ts'
import { type Field, SAVE_FIELD, type SaveWholeOptions } from './fields.ts'
import { type Host, type Method, type MethodKind, methodOfKind, type PlaceContext, type Placement } from './method.ts'
import { modulesToSaveFor } from './taskType.ts'
import { trainedWhole } from './wholeModules.ts'

/** Options of {@link promptTuning}. */
export interface PromptOptions extends SaveWholeOptions {
  /** Virtual tokens before each sequence. Default 20. */
  numVirtualTokens?: number
  /** Sizes that a file notes: of the hidden state, layers, heads. Default: the model's. */
  tokenDim?: number | undefined
  numLayers?: number | undefined
  numAttentionHeads?: number | undefined
}

/** Options of {@link prefixTuning}. */
export interface PrefixOptions extends PromptOptions {
  /** Size that a file notes, of a projection. Default: the model's. */
  encoderHiddenSize?: number | undefined
}

const size = (name: 'tokenDim' | 'numLayers' | 'numAttentionHeads', peft: string) =>
  ({
    name,
    peft,
    kind: 'integer',
    min: 1,
    help: 'Size that a file notes',
    found: "the model's",
    isFound: true,
  }) as const

const fields: readonly Field<keyof PromptOptions>[] = [
  {
    name: 'numVirtualTokens',
    peft: 'num_virtual_tokens',
    kind: 'integer',
    default: 20,
    min: 1,
    search: { values: [5, 10, 20, 50, 100] },
    help: 'Virtual tokens before each sequence',
  },
  {
    ...SAVE_FIELD,
    // PEFT writes the heads of the task twice.
    encode: (value, { taskType }) => {
      const asked = [...new Set(isTexts(value) ? value : [])]
      const heads = modulesToSaveFor(taskType, [])
      const others = asked.filter(name => !heads.includes(name))
      return heads.length + others.length === 0 ? null : [...others, ...heads, ...heads]
    },
  },
  size('tokenDim', 'token_dim'),
  size('numLayers', 'num_layers'),
  size('numAttentionHeads', 'num_attention_heads'),
]

const encoderSize: Field<'encoderHiddenSize'> = {
  name: 'encoderHiddenSize',
  peft: 'encoder_hidden_size',
  kind: 'integer',
  min: 1,
  help: 'Size that a file notes',
  found: "the model's",
  isFound: true,
}

const common: PyObject = { num_transformer_submodules: 1 }

export const PROMPT: MethodKind<PromptOptions> = {
  type: 'prompt',
  peftType: 'PROMPT_TUNING',
  title: 'prompt tuning',
  help: 'word embeddings of virtual tokens before each text',
  lr: 1e-2,
  fields,
  keys: {
    ...common,
    prompt_tuning_init: 'RANDOM',
    prompt_tuning_init_text: null,
    tokenizer_kwargs: null,
    tokenizer_name_or_path: null,
  },
  place: (host, options, context) => placed(host, options, context, 'prompt'),
}

export const PREFIX: MethodKind<PrefixOptions> = {
  type: 'prefix',
  peftType: 'PREFIX_TUNING',
  title: 'prefix tuning',
  help: 'keys and values of virtual tokens in every layer',
  lr: 1e-2,
  fields: [...fields, encoderSize],
  // A projection is a way of training; what is saved is what it gives.
  keys: { ...common, init_weights: null, prefix_projection: false },
  place: (host, options, context) => placed(host, options, context, 'prefix'),
}

/** Prompt tuning: the model reads trained vectors before each text. docs/methods.md. */
export function promptTuning(options: PromptOptions = {}): Method {
  return methodOfKind(PROMPT, options)
}

/** Prefix tuning without projection: every layer reads trained keys and values. Encoders only. docs/methods.md. */
export function prefixTuning(options: PrefixOptions = {}): Method {
  return methodOfKind(PREFIX, options)
}

function placed(
  host: Host,
  options: Required<PrefixOptions> | Required<PromptOptions>,
  context: PlaceContext,
  which: 'prompt' | 'prefix',
): Placement {
  const { numVirtualTokens: count } = options
  check(host.backbone.startId === undefined, 'ERR_UNSUPPORTED', () => {
    return `${which}: ${host.config.modelType} reads and says, and virtual tokens are built for one text alone; use lora`
  })
  const sizes = sizesOf(host)
  const width = which === 'prompt' ? sizes.tokenDim : 2 * sizes.numLayers * sizes.tokenDim
  const parameter = context.parameter('prompt_embeddings', [count, width], (seed, name) => {
    return normal(count * width, 0.02, seed, name)
  })
  return {
    linear: new Map(),
    virtual: which === 'prompt' ? { prompt: parameter } : { prefix: parameter },
    whole: trainedWhole(host, options, context, []),
    // An option of the file wins: with a projection its sizes were others.
    settings: () => ({
      ...sizes,
      ...(which === 'prefix' && { encoderHiddenSize: encoderOf(options) ?? sizes.tokenDim }),
    }),
    matched: [{ path: 'prompt_embeddings', text: `${count} virtual tokens` }],
    keyOf: (each: Parameter) => (each === parameter ? each.name : `base_model.${each.name}`),
  }
}

const encoderOf = (options: PrefixOptions): number | undefined => options.encoderHiddenSize

/** What PEFT notes of the model. */
function sizesOf({ backbone, config }: Host) {
  const { num_attention_heads: heads, n_heads: short } = config.values
  return {
    tokenDim: backbone.hiddenSize,
    numLayers: backbone.layers,
    numAttentionHeads: typeof heads === 'number' ? heads : typeof short === 'number' ? short : undefined,
  }
}
