// Virtual tokens that train: prompt tuning (Lester et al. 2021) and prefix tuning (Li and Liang 2021).

import { check } from '../errors.ts'
import type { PyObject } from '../io/json.ts'
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

/** Keys of every file. */
export const VIRTUAL_KEYS: PyObject = { num_transformer_submodules: 1 }

export const PROMPT: MethodKind<PromptOptions> = {
  type: 'prompt',
  peftType: 'PROMPT_TUNING',
  title: 'prompt tuning',
  help: 'word embeddings of virtual tokens before each text',
  lr: 1e-2,
  fields: VIRTUAL_FIELDS,
  keys: {
    ...VIRTUAL_KEYS,
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
  keys: { ...VIRTUAL_KEYS, init_weights: null },
  place: prefixOf,
}

/** Prompt tuning: the model reads trained vectors before each text. docs/methods.md. */
export function promptTuning(options: PromptOptions = {}): Method {
  return methodOfKind(PROMPT, options)
}

/** Prefix tuning: every layer reads trained keys and values. Encoders only. docs/methods.md. */
export function prefixTuning(options: PrefixOptions = {}): Method {
  return methodOfKind(PREFIX, options)
}

/** Word embeddings of virtual tokens: rows that train, or what a network gives where they are no file's. */
export function promptPlacement(
  host: Host,
  options: Required<PromptOptions>,
  context: PlaceContext,
  from: Pick<Source, 'network' | 'encoderHiddenSize'> = {},
): Placement {
  const { network } = from
  if (network) return placed(host, options, context, { ...from, virtual: { prompt: () => network.rows() } })
  const made = rowsOf(options, sizesOf(host).tokenDim, context)
  return placed(host, options, context, { ...from, made, virtual: { prompt: () => made.tensor } })
}

function prefixOf(host: Host, options: Required<PrefixOptions>, context: PlaceContext): Placement {
  const { numVirtualTokens: count, prefixProjection } = options
  const { tokenDim, numLayers } = sizesOf(host)
  const [width, period] = [2 * tokenDim, 2 * numLayers * tokenDim]
  const encoderHiddenSize = options.encoderHiddenSize ?? tokenDim
  // Without context.file: a file holds what the projection gave.
  if (prefixProjection && !context.file) {
    const network = virtualNetwork(count, [tokenDim, encoderHiddenSize, period], 'tanh', context)
    const prefix = (layer: number) => network.part(layer * width, width)
    return placed(host, options, context, { network, virtual: { prefix }, encoderHiddenSize })
  }
  const made = rowsOf(options, period, context)
  const prefix = (layer: number) => gatherColumns(made.tensor, [{ start: layer * width, width, period }])[0]
  return placed(host, options, context, { made, virtual: { prefix }, encoderHiddenSize })
}

function rowsOf({ numVirtualTokens: count }: Required<PromptOptions>, width: number, context: PlaceContext): Parameter {
  return context.parameter(ROWS, [count, width], (seed, name) => {
    return normal(count * width, 0.02, seed, name)
  })
}

/** How virtual tokens come about. */
interface Source {
  readonly virtual: Omit<VirtualTokens, 'count'>
  /** Rows that train, as they are written. */
  readonly made?: Parameter
  readonly network?: Network | undefined
  readonly encoderHiddenSize?: number
}

function placed(
  host: Host,
  options: Required<PromptOptions>,
  context: PlaceContext,
  { virtual, made, network, encoderHiddenSize }: Source,
): Placement {
  const { numVirtualTokens: count } = options
  const own = made ? [made] : (network?.params ?? [])
  check(host.backbone.startId === undefined, 'ERR_UNSUPPORTED', () => {
    const what = virtual.prompt ? 'prompt' : 'prefix'
    return `${what}: ${host.config.modelType} reads and says, and virtual tokens are built for one text alone; use lora`
  })
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
    settings: () => ({ ...sizesOf(host), ...(encoderHiddenSize !== undefined && { encoderHiddenSize }) }),
    matched: [{ path: ROWS, text: `${count} virtual tokens` }],
    keyOf: ({ name, base }: Parameter) => (base ? `base_model.${name}` : name),
  }
}

/** PEFT's key of virtual tokens. */
const ROWS = 'prompt_embeddings'

/** What PEFT notes of the model. */
function sizesOf({ backbone, config }: Host) {
  const { num_attention_heads: heads, n_heads: short } = config.values
  return {
    tokenDim: backbone.hiddenSize,
    numLayers: backbone.layers,
    numAttentionHeads: typeof heads === 'number' ? heads : typeof short === 'number' ? short : undefined,
  }
}
