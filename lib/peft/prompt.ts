// Virtual tokens that train: prompt tuning (Lester et al. 2021) and prefix tuning (Li and Liang 2021).

import { check } from '../errors.ts'
import { gatherColumns } from '../nn/columns.ts'
import { normal } from '../nn/init.ts'
import { Parameter } from '../nn/module.ts'
import type { VirtualTokens } from '../nn/virtual.ts'
import { scope } from '../tensor.ts'
import { isTexts } from '../tuple.ts'
import { type Field, SAVE_FIELD, type SaveWholeOptions } from './fields.ts'
import { type Host, type Method, type MethodKind, methodOfKind, type PlaceContext, type Placement } from './method.ts'
import { modulesToSaveFor } from './taskType.ts'
import { type Network, virtualNetwork } from './virtualNetwork.ts'
import { trainedWhole } from './wholeModules.ts'

/** Options of {@link promptTuning}. */
export interface PromptOptions extends SaveWholeOptions {
  /** Virtual tokens before each sequence. Default 20. */
  numVirtualTokens?: number
  /** Sizes that a file notes: of the hidden state, layers, heads. Default: the model's. */
  tokenDim?: number | undefined
  numLayers?: number | undefined
  numAttentionHeads?: number | undefined
  /** Sets of virtual tokens that a file notes: PEFT makes two for an encoder-decoder. Default: as PEFT. */
  numTransformerSubmodules?: number | undefined
}

/** Options of what makes virtual tokens while they train. */
export interface NetworkOptions {
  /** Width of its hidden layers. Default: the model's. */
  encoderHiddenSize?: number | undefined
}

/** Options of {@link prefixTuning}. */
export interface PrefixOptions extends PromptOptions, NetworkOptions {
  /** Whether keys and values come from a network, which trains in their place and is not saved. Default false. */
  prefixProjection?: boolean
}

type Size = 'tokenDim' | 'numLayers' | 'numAttentionHeads' | 'numTransformerSubmodules'

const size = (name: Size, peft: string) =>
  ({
    name,
    peft,
    kind: 'integer',
    min: 1,
    help: 'Size that a file notes',
    found: "the model's",
    isFound: true,
  }) as const

/** Of every method with virtual tokens. */
export const VIRTUAL_FIELDS: readonly Field<keyof PromptOptions>[] = [
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
  size('numTransformerSubmodules', 'num_transformer_submodules'),
]

/** Of those with a network that makes them. */
export const NETWORK_FIELD: Field<'encoderHiddenSize'> = {
  name: 'encoderHiddenSize',
  peft: 'encoder_hidden_size',
  kind: 'integer',
  min: 1,
  help: 'Width of the network that makes virtual tokens',
  found: "the model's",
}

export const PROMPT: MethodKind<PromptOptions> = {
  type: 'prompt',
  peftType: 'PROMPT_TUNING',
  title: 'prompt tuning',
  help: 'word embeddings of virtual tokens before each text',
  lr: 1e-2,
  fields: VIRTUAL_FIELDS,
  keys: {
    prompt_tuning_init: 'RANDOM',
    prompt_tuning_init_text: null,
    tokenizer_kwargs: null,
    tokenizer_name_or_path: null,
  },
  place: (host, options, context) => promptPlacement(host, options, context),
}

export const PREFIX: MethodKind<PrefixOptions> = {
  type: 'prefix',
  peftType: 'PREFIX_TUNING',
  title: 'prefix tuning',
  help: 'keys and values of virtual tokens in every layer',
  lr: 1e-2,
  fields: [
    ...VIRTUAL_FIELDS,
    NETWORK_FIELD,
    {
      name: 'prefixProjection',
      peft: 'prefix_projection',
      kind: 'boolean',
      default: false,
      help: 'Keys and values come from a network that trains in their place',
    },
  ],
  keys: { init_weights: null },
  place: prefixOf,
}

/** Prompt tuning: the model reads trained vectors before each text. docs/methods.md. */
export function promptTuning(options: PromptOptions = {}): Method {
  return methodOfKind(PROMPT, options)
}

/** Prefix tuning: every layer, of an encoder-decoder the decoder's, reads trained keys and values. docs/methods.md. */
export function prefixTuning(options: PrefixOptions = {}): Method {
  return methodOfKind(PREFIX, options)
}

/**
 * Word embeddings of virtual tokens: rows that train, or what a network gives where they are no file's. PEFT makes a
 * second set for the decoder of an encoder-decoder, which nothing reads: files have it all the same.
 */
export function promptPlacement(
  host: Host,
  options: Required<PromptOptions> & NetworkOptions,
  context: PlaceContext,
  make?: (rows: number, hidden: number) => Network,
): Placement {
  const sizes = sizesOf(host, options, context, { width: host.backbone.wordEmbeddings.outFeatures })
  const { numVirtualTokens: count, encoderHiddenSize = sizes.tokenDim } = options
  const rows = count * sizes.numTransformerSubmodules
  const found = make ? { ...sizes, encoderHiddenSize } : sizes
  if (make && !context.file) {
    const network = make(rows, encoderHiddenSize)
    return placed(host, options, context, { network, sizes: found, virtual: { prompt: () => network.rows(count) } })
  }
  const made = rowsOf([rows, sizes.tokenDim], context)
  const prompt = () => (rows === count ? made.tensor : made.tensor.view(0, [count, sizes.tokenDim]))
  return placed(host, options, context, { made, sizes: found, virtual: { prompt } })
}

function prefixOf(host: Host, options: Required<PrefixOptions>, context: PlaceContext): Placement {
  const { numVirtualTokens: count, prefixProjection } = options
  const { kvHeads: heads, headDim, layers } = host.backbone
  const sizes = sizesOf(host, options, context, { width: heads * headDim, heads })
  const { tokenDim, numLayers, numTransformerSubmodules: sets } = sizes
  check(sets === 2 || host.backbone.startId === undefined, 'ERR_OPTION', () => {
    return 'numTransformerSubmodules: 1 set of keys and values, for which PEFT has no place in an encoder-decoder; leave it out'
  })
  check(sets === 1 ? numLayers === layers : numLayers >= layers, 'ERR_OPTION', () => {
    return `prefix: keys and values of ${numLayers} layers (num_layers), the model has ${layers}; leave numLayers out`
  })
  const [width, period] = [2 * tokenDim, 2 * numLayers * tokenDim]
  // With two sets PEFT hands layers four tensors each in place of two, and the last of them begin anew.
  const begin = (layer: number) => ((layer * sets) % numLayers) * width
  const encoderHiddenSize = options.encoderHiddenSize ?? tokenDim
  const found = { ...sizes, encoderHiddenSize }
  // Without context.file: a file holds what the projection gave.
  if (prefixProjection && !context.file) {
    const network = virtualNetwork(count, [tokenDim, encoderHiddenSize, period], 'tanh', context)
    const prefix = (layer: number) => network.part(begin(layer), width)
    return placed(host, options, context, { network, sizes: found, virtual: { prefix } })
  }
  const made = rowsOf([count, period], context)
  const prefix = (layer: number) => gatherColumns(made.tensor, [{ start: begin(layer), width, period }])[0]
  return placed(host, options, context, { made, sizes: found, virtual: { prefix } })
}

function rowsOf(shape: readonly [number, number], context: PlaceContext): Parameter {
  return context.parameter(ROWS, shape, (seed, name) => normal(shape[0] * shape[1], 0.02, seed, name))
}

/** How virtual tokens come about. */
interface Source {
  readonly virtual: Omit<VirtualTokens, 'count'>
  /** Rows that train, as they are written. */
  readonly made?: Parameter
  readonly network?: Network
  /** What the file notes. */
  readonly sizes: object
}

function placed(
  host: Host,
  options: Required<PromptOptions>,
  context: PlaceContext,
  { virtual, made, network, sizes }: Source,
): Placement {
  const { numVirtualTokens: count } = options
  const own = made ? [made] : (network?.params ?? [])
  return {
    linear: new Map(),
    virtual: { count, ...virtual },
    own,
    ...(network && {
      written: () => [
        new Parameter(
          ROWS,
          scope(() => network.rows()),
        ),
      ],
    }),
    whole: trainedWhole(host, options, context, []),
    settings: () => sizes,
    matched: [{ path: ROWS, text: `${count} virtual tokens` }],
    keyOf: ({ name, base }: Parameter) => (base ? `base_model.${name}` : name),
  }
}

/** PEFT's key of virtual tokens. */
const ROWS = 'prompt_embeddings'

/** What PEFT notes of the model: what a file says, else what fits. `heads`: default those of queries. */
function sizesOf(host: Host, options: PromptOptions, context: PlaceContext, { width, heads = queryHeads(host) }: Fit) {
  const { backbone, className, config } = host
  const isTwofold = backbone.startId !== undefined
  check(!isTwofold || context.taskType === 'SEQ_2_SEQ_LM', 'ERR_UNSUPPORTED', () => {
    return `virtual tokens: transformers' ${className} takes no vectors and no keys in place of words, so PEFT has none there; use lora`
  })
  const { tokenDim = width, numTransformerSubmodules: sets = isTwofold ? 2 : 1 } = options
  check(tokenDim === width, 'ERR_OPTION', () => {
    return `tokenDim: ${tokenDim}, but ${config.modelType} reads vectors of ${width} here; leave it out`
  })
  check(sets === 1 || (sets === 2 && isTwofold), 'ERR_OPTION', () => {
    return `numTransformerSubmodules: ${sets} sets of virtual tokens, ${className} has ${isTwofold ? '1 or 2' : 'one'}; leave it out`
  })
  return {
    tokenDim,
    numLayers: options.numLayers ?? backbone.layers,
    numAttentionHeads: options.numAttentionHeads ?? heads,
    numTransformerSubmodules: sets,
  }
}

/** What virtual tokens must fit. */
interface Fit {
  readonly width: number
  readonly heads?: number | undefined
}

function queryHeads({ config: { values } }: Host): number | undefined {
  const names = ['num_attention_heads', 'n_heads', 'n_head', 'num_heads']
  return names.map(name => values[name]).find(value => typeof value === 'number')
}
