// LoRA (Hu et al. 2021): y = x W^T + b + s · drop(x) A^T B^T with W frozen, A [r, in], B [out, r].

import { check } from '../errors.ts'
import type { PyJson, PyObject } from '../io/json.ts'
import { shown } from '../io/json.ts'
import { normal, uniform } from '../nn/init.ts'
import type { Linear, LinearAdapter } from '../nn/linear.ts'
import type { Parameter } from '../nn/module.ts'
import { keepOf, site } from '../ops/random.ts'
import { isNumbers } from '../options.ts'
import { must, nth, under } from '../tuple.ts'
import {
  dropoutField,
  type Field,
  LAYER_FIELDS,
  type LayerOptions,
  plain,
  SAVE_FIELD,
  type SaveWholeOptions,
  type TargetOptions,
  targetFields,
} from './fields.ts'
import { isTable, tiedTable } from './layers.ts'
import { withMagnitude } from './magnitude.ts'
import { type Host, type Method, type MethodKind, methodOfKind, type PlaceContext, type Placement } from './method.ts'
import { penalty } from './regularizer.ts'
import {
  type Begun,
  isFoundLater,
  type LoraStart,
  matchedAt,
  orthogonalStart,
  STARTS,
  StartFactors,
  takesPart,
} from './starts.ts'
import { foundLater } from './startsLater.ts'
import { factorsOnTable, following, followingCopies, tiedTargets } from './tableFactors.ts'
import { checkPattern, defaultTargets, patternValue, stablePattern } from './targets.ts'
import { groupsOf, placeRows, type TokenIndices } from './tokenRows.ts'
import { BIAS_FIELD, type Bias, layersChosen, trainedWhole } from './wholeModules.ts'

/** Settings of LoRA; every one may be left out. */
export interface LoraOptions extends TargetOptions, LayerOptions, SaveWholeOptions {
  /** Rank of A and B. Default 8. */
  r?: number
  /** Scale times r (times √r with `useRslora`). Default 8. */
  alpha?: number
  /** Probability of dropping an input element of the low-rank path. Default 0. */
  dropout?: number
  /** Default 'none'. */
  bias?: Bias
  /** Other ranks, by path end or regular expression; the first that matches counts. */
  rankPattern?: Readonly<Record<string, number>>
  /** Other alphas, in the same way. */
  alphaPattern?: Readonly<Record<string, number>>
  /** Scale alpha/√r in place of alpha/r. Default false. */
  useRslora?: boolean
  /** DoRA: a magnitude a row beside the direction W + s B A (docs/methods.md). Default false. */
  useDora?: boolean
  /** LoRA+: B's learning rate over A's. Default 1. */
  loraPlusRatio?: number
  /** f32 accuracy of the adapter's products beside bf16 activations (docs/exact-adapters.md). Default true. */
  exact?: boolean
  /**
   * true: A uniform within ±1/√in, B 0; 'gaussian': A normal, deviation 1/r; false: both random; 'orthogonal': both
   * random with B A = 0. 'pissa' (`'pissa_niter_4'`: as near as so many passes come) and 'olora' begin as a part of the
   * weight, 'loftq' as what quantising it lost, 'eva' with A along what layers read. Default true.
   */
  initLoraWeights?: LoraStart
  /** EVA: how many times its rank a layer may have; ranks go where they explain most. Default 1: they stay. */
  evaRho?: number
  /**
   * One change for the word embeddings and the output layer that is tied to them, where either is targeted. Default
   * false: each is changed alone, and merging unties them.
   */
  ensureWeightTying?: boolean
  /**
   * Tokens whose rows of the word embeddings train beside the factors, in place of their own: ids, or ids by module.
   * A tied output layer has the same rows, unless it is given others.
   */
  trainableTokenIndices?: TokenIndices | undefined
  /** Weight of the regulariser on A and B; it is part of training, not of the adapter's file. Default 0. */
  regularizer?: number
  /** 'l2': Σ ‖A‖² + ‖B‖²; 'orth': the mean of all ‖AAᵀ − I‖² and ‖BᵀB − I‖². Default 'l2'. */
  regularizerKind?: 'l2' | 'orth'
}

/** {@link LoraOptions} with every default filled in; only choices with no default stay undefined. */
export type ResolvedLora = Required<LoraOptions>

const RANKS = { values: [4, 8, 16, 32, 64] }

const fields: readonly Field<keyof LoraOptions>[] = [
  { name: 'r', peft: 'r', kind: 'integer', default: 8, min: 1, help: 'Rank of the factors', search: RANKS },
  {
    name: 'alpha',
    peft: 'lora_alpha',
    kind: 'number',
    default: 8,
    search: { values: [8, 16, 32, 64, 128] },
    help: 'The update is scaled by alpha / r',
  },
  dropoutField('lora_dropout', 'Dropout on the input of the factors'),
  ...targetFields(defaultTargets),
  ...LAYER_FIELDS,
  {
    name: 'rankPattern',
    peft: 'rank_pattern',
    kind: 'numbers',
    default: {},
    min: 1,
    whole: true,
    help: 'Other ranks by module (value=16)',
    encode: encodePattern,
  },
  {
    name: 'alphaPattern',
    peft: 'alpha_pattern',
    kind: 'numbers',
    default: {},
    help: 'Other alphas by module',
    encode: encodePattern,
  },
  SAVE_FIELD,
  BIAS_FIELD,
  { name: 'useRslora', peft: 'use_rslora', kind: 'boolean', default: false, help: 'Scale by alpha / √r' },
  {
    name: 'useDora',
    peft: 'use_dora',
    kind: 'boolean',
    default: false,
    help: 'DoRA: train the length of each row of the weight apart from its direction',
  },
  {
    name: 'loraPlusRatio',
    kind: 'number',
    default: 1,
    min: 0,
    help: "LoRA+: B's learning rate over A's",
    search: { values: [1, 4, 16] },
  },
  {
    name: 'exact',
    kind: 'boolean',
    default: true,
    help: "The adapter's products at f32 accuracy beside bf16 activations",
  },
  {
    name: 'initLoraWeights',
    peft: 'init_lora_weights',
    kind: 'choice',
    default: true,
    choices: STARTS,
    help: 'How A and B begin: uniform A and B zero, or one of the names',
    decode: loadedInit,
  },
  { name: 'evaRho', kind: 'number', default: 1, min: 1, help: 'How many times its rank eva may give a layer' },
  {
    name: 'ensureWeightTying',
    peft: 'ensure_weight_tying',
    kind: 'boolean',
    default: false,
    help: 'One change for tied embed_tokens and lm_head, where either is targeted',
  },
  {
    name: 'trainableTokenIndices',
    peft: 'trainable_token_indices',
    kind: 'integers',
    isByName: true,
    help: 'Tokens whose rows of the word embeddings train beside the factors',
    found: 'none',
  },
  { name: 'regularizer', kind: 'number', default: 0, min: 0, help: 'Weight of a penalty on the factors' },
  {
    name: 'regularizerKind',
    kind: 'choice',
    default: 'l2',
    choices: ['l2', 'orth'],
    help: 'l2 keeps the factors small, orth near orthogonal',
  },
]

// Settings that change what an adapter computes and are not built here; each with the value that leaves it out.
const notBuilt: PyObject = {
  alora_invocation_tokens: null,
  arrow_config: null,
  kasa_config: null,
  layer_replication: null,
  lora_bias: false,
  megatron_config: null,
  monteclora_config: null,
  target_parameters: null,
  use_bdlora: null,
  use_qalora: false,
  velora_config: null,
}

const keys: PyObject = {
  corda_config: null,
  eva_config: null,
  fan_in_fan_out: false,
  loftq_config: {},
  lora_ga_config: null,
  megatron_core: 'megatron.core',
  qalora_group_size: 16,
}

export const LORA: MethodKind<LoraOptions> = {
  type: 'lora',
  peftType: 'LORA',
  title: 'LoRA',
  help: 'low-rank factors beside frozen weights',
  lr: 5e-4,
  fields,
  recommended: ({ r = 8 }) => ({ targetModules: 'all-linear', alpha: 2 * r }),
  recommendedAs: { alpha: '2 r', targetModules: "all-linear for lora, else the family's" },
  keys,
  notBuilt,
  check: ({ alpha, alphaPattern, dropout }) => {
    const least = Math.min(alpha, ...Object.values(alphaPattern))
    check(least > 0, 'ERR_OPTION', () => {
      return `alpha: ${least} would switch the adapter off or turn it round; give a number above 0`
    })
    keepOf(dropout)
  },
  place: placeLora,
}

/**
 * Low-rank adaptation; docs/methods.md has the formula of every option.
 *
 * The head of the task, and every module whose weights the checkpoint lacked, are trained in full and saved with the
 * adapter: PEFT leaves a new pooler random and frozen. `modulesToSave`, where given, names all that is trained in full
 * beside the head. Attaching changes no output until something is trained, except under `initLoraWeights: false` and
 * for dropout, which is active in training only.
 *
 * Throws ERR_OPTION for an option that is unknown, of the wrong kind or out of range; `attach` for what does not fit
 * the model.
 */
export function lora(options: LoraOptions = {}): Method {
  return methodOfKind(LORA, options)
}

function placeLora(host: Host, options: ResolvedLora, context: PlaceContext): Placement {
  const tied = options.ensureWeightTying ? tiedTargets(host, options.targetModules, context.isStrict) : undefined
  const targets = layersChosen(host, tied === undefined ? options : { ...options, targetModules: tied }, context)
  const sizes = sizesOf(targets, options, context.isStrict)
  const matched = sizes.map(matchedAt)
  const whole = trainedWhole(host, options, context, sizes)
  const layers: Begun[] = []
  const linear = new Map<string, LinearAdapter>()
  for (const [i, each] of targets.entries()) {
    if (isTable(each)) linear.set(each.path, factorsOnTable(each, nth(sizes, i), options, context))
    else {
      const begun = factorsOn(each, nth(sizes, i), options, context)
      layers.push(begun)
      linear.set(each.path, begun.adapter)
    }
  }
  const pairs = [...linear.values()].flatMap(({ params }) => params.slice(0, 2))
  const copies = tied === undefined ? undefined : follow(host, linear, options)
  trainTokens(host, linear, options, context, whole)
  const { regularizer: weight, regularizerKind: kind } = options
  const placement: Placement = {
    linear,
    whole,
    matched,
    ...(tied !== undefined && { settings: () => ({ targetModules: tied }) }),
    ...(copies && { copies }),
    mayBeZero: startsZero,
    training: {
      ...(weight > 0 && { penalty: () => penalty({ weight, kind, parameters: pairs }) }),
      ...(options.loraPlusRatio !== 1 && { group: p => ({ lrScale: isB(p) ? options.loraPlusRatio : 1 }) }),
    },
  }
  return isFoundLater(options.initLoraWeights)
    ? foundLater(host, placement, layers, options, context.file !== undefined)
    : placement
}

/** Puts the change of the word embeddings on the output layer too; gives its keys in a file. */
function follow(host: Host, linear: Map<string, LinearAdapter>, options: ResolvedLora): Placement['copies'] & object {
  const table = tiedTable(host, 'ensureWeightTying').path
  const { path } = must(host.output, 'output')
  linear.set(path, following(under(linear, table), path, options))
  return followingCopies(table, path)
}

/** Puts rows that train in place of their own. */
function trainTokens(
  host: Host,
  linear: Map<string, LinearAdapter>,
  { trainableTokenIndices: given, ensureWeightTying }: ResolvedLora,
  context: PlaceContext,
  whole: readonly Parameter[],
): void {
  const option = 'trainableTokenIndices'
  for (const group of given === undefined ? [] : groupsOf(host, given, option, ensureWeightTying)) {
    const saved = group.layers.find(({ weight }) => whole.includes(weight))
    check(!saved, 'ERR_OPTION', () => `${option}: ${saved?.path} is trained in full (modulesToSave); name one of them`)
    placeRows(host, group, linear, context, { key: 'token_adapter.trainable_tokens_delta' })
  }
}

/** A module that gets factors, with its rank and scale after all patterns. */
export interface Sized {
  readonly path: string
  readonly r: number
  readonly alpha: number
  /** alpha/r, or alpha/√r with rsLoRA. */
  readonly scale: number
}

/** Ranks and scales of targeted layers. Throws ERR_OPTION for a rank above a layer's smaller side. */
export function sizesOf(
  targets: readonly Pick<Linear, 'path' | 'inFeatures' | 'outFeatures'>[],
  options: Pick<ResolvedLora, 'r' | 'alpha' | 'rankPattern' | 'alphaPattern' | 'useRslora'>,
  isStrict: boolean,
): Sized[] {
  const paths = targets.map(({ path }) => path)
  if (isStrict)
    for (const option of ['rankPattern', 'alphaPattern'] as const) checkPattern(option, options[option], paths)
  return targets.map(({ path, inFeatures, outFeatures }) => {
    const r = patternValue(options.rankPattern, path) ?? options.r
    const alpha = patternValue(options.alphaPattern, path) ?? options.alpha
    const most = Math.min(inFeatures, outFeatures)
    check(!isStrict || r <= most, 'ERR_OPTION', () => {
      return `r: ${r} is above ${most}, the smaller side of ${path} [${outFeatures}, ${inFeatures}]; take at most ${most}`
    })
    return { path, r, alpha, scale: options.useRslora ? alpha / Math.sqrt(r) : alpha / r }
  })
}

function factorsOn(linear: Linear, { r, scale }: Sized, options: ResolvedLora, context: PlaceContext): Begun {
  const { path, inFeatures, outFeatures } = linear
  const start = options.initLoraWeights
  const make = (which: 'A' | 'B', shape: [number, number]) =>
    context.parameter(`${path}.lora_${which}.weight`, shape, (seed, name) => {
      return initial(which, shape, r, start, seed, name)
    })
  const [a, b] = [make('A', [r, inFeatures]), make('B', [outFeatures, r])]
  const part = takesPart(start) ? new StartFactors(linear, r, context) : undefined
  const { dropout, exact } = options
  const own = site(path, 'lora')
  const adapter: LinearAdapter = {
    name: context.name,
    params: [a, b],
    active: true,
    // Called for each layer and token: an object written out is made in a tenth of the time that spreading takes.
    factors: () => {
      const pair = part?.beside(a.tensor, b.tensor)
      return { a: pair?.a ?? a.tensor, b: pair?.b ?? b.tensor, scale, dropout, exact, site: own }
    },
  }
  const whole = options.useDora ? withMagnitude(adapter, linear, context) : adapter
  return { linear, a, b, scale, adapter: whole, ...(part && { part }) }
}

/** B is zero at the start, and the A of a table. */
const startsZero = ({ name }: { name: string }) => /\.(lora_B\.weight|lora_embedding_A)$/.test(name)

const isB = ({ name }: { name: string }) => name.endsWith('.lora_B.weight')

/** PyTorch's Kaiming uniform with a = √5, as for its linear layers: within ±1/√fan-in. */
function initial(
  which: 'A' | 'B',
  shape: [number, number],
  r: number,
  init: ResolvedLora['initLoraWeights'],
  seed: number,
  name: string,
): Float32Array {
  const size = shape[0] * shape[1]
  if (init === 'orthogonal') return orthogonalStart(which, shape, seed, name)
  if (which === 'B' && init !== false) return new Float32Array(size)
  if (which === 'A' && init === 'gaussian') return normal(size, 1 / r, seed, name)
  return uniform(size, 1 / Math.sqrt(shape[1]), seed, name)
}

function encodePattern(value: unknown, { targets }: { targets: readonly string[] }): PyJson {
  check(isNumbers(value), 'ERR_OPTION', () => `lora: a pattern is ${shown(value)}, expected name=number pairs`)
  return stablePattern(value, targets)
}

/** The start a loaded adapter counts as: its tensors are in the file, so only a changed base matters. */
function loadedInit(path: string, value: PyJson): unknown {
  if (value === 'eva') return true
  const isBuilt = typeof value !== 'string' || ['gaussian', 'orthogonal', 'pissa', 'olora'].includes(value)
  check(isBuilt, 'ERR_UNSUPPORTED', () => {
    return `${path}: init_lora_weights is ${shown(value)}, which changes the base weights by more than can be told; convert it to plain LoRA`
  })
  return plain(value)
}
