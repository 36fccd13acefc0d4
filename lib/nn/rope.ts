// Frequencies of rotary position embeddings, as config.json asks for them: `rope_parameters` of transformers 5, or
// `rope_theta` and `rope_scaling` before it. The rules are those that transformers documents ("Utilities for Rotary
// Embedding"), from RoFormer (Su et al. 2021), position interpolation (Chen et al. 2023), dynamic NTK scaling (bloc97
// and emozilla 2023), YaRN (Peng et al. 2023), LongRoPE (Ding et al. 2024) and Llama 3.1 (2024).

import { check } from '../errors.ts'
import { count, float, type ModelConfig, string } from '../io/config.ts'
import { isJsonObject, type JsonObject } from '../io/json.ts'
import type { RopeInput } from '../ops/rope.ts'
import { Device, Tensor } from '../tensor.ts'
import { under } from '../tuple.ts'
import type { Batch } from './batch.ts'

interface RopeFrequencies {
  /** Radians a position adds, one for each pair of columns. */
  perPosition: Float64Array
  /** Cosines and sines are multiplied by it. */
  attentionFactor: number
}

export interface RopeFrequencyOptions {
  headDim: number
  /** Of the longest sequence: dynamic scaling and LongRoPE depend on it. Default: max_position_embeddings. */
  length?: number
  /** For configs that hold one set for each kind of layer (Gemma 3). */
  layerType?: string
}

/** What a rule reads. `dim`: columns of a head that turn. */
interface Rope {
  parameters: ModelConfig
  theta: number
  dim: number
  length: number
  maxPositions: number
  /** Positions the model was trained on before its context was extended. */
  original: number
}

type Rule = (rope: Rope) => RopeFrequencies

const RULES: Record<string, Rule> = {
  default: rope => plain(unscaled(rope.theta, rope.dim)),
  linear: rope => plain(unscaled(rope.theta, rope.dim).map(f => f / float(rope.parameters, 'factor'))),
  dynamic,
  yarn,
  longrope,
  su: longrope, // its name in the first Phi-3 checkpoints
  llama3,
}

/** Frequencies of one kind of layer. What is missing or unknown is `ERR_CONFIG`. */
export function ropeFrequencies(config: ModelConfig, options: RopeFrequencyOptions): RopeFrequencies {
  const { headDim, layerType } = options
  const parameters = parametersOf(config, layerType)
  const type = typeOf(parameters)
  const share = float(parameters, 'partial_rotary_factor', float(config, 'partial_rotary_factor', 1))
  const dim = Math.trunc(headDim * share)
  check(
    dim >= 2 && dim <= headDim && dim % 2 === 0,
    'ERR_CONFIG',
    () => `${config.path}: ${dim} of ${headDim} columns of a head turn, expected an even number`,
  )
  const maxPositions = count(config, 'max_position_embeddings', 2048)
  const original = 'original_max_position_embeddings'
  return under(
    RULES,
    type,
  )({
    parameters,
    theta: float(parameters, 'rope_theta', float(config, 'rope_theta', 10000)),
    dim,
    length: options.length ?? maxPositions,
    maxPositions,
    original: count(parameters, original, count(config, original, maxPositions)),
  })
}

/** Positions that the rope of a config serves: dynamic scaling goes past those the model was made for. */
export function ropeReach(config: ModelConfig): number {
  const positions = count(config, 'max_position_embeddings', 2048)
  const parameters = parametersOf(config, undefined)
  return typeOf(parameters) === 'dynamic' ? Math.floor(positions * float(parameters, 'factor')) : positions
}

/** Whether keys depend on how long a sequence is going to be, so that texts that begin alike may have others. */
export function turnsByLength(config: ModelConfig): boolean {
  return followsLength(typeOf(parametersOf(config, undefined)))
}

const followsLength = (type: string) => ['dynamic', 'longrope', 'su'].includes(type)

function typeOf(parameters: ModelConfig): string {
  const known = Object.keys(RULES)
  return string(parameters, 'rope_type', string(parameters, 'type', 'default', known), known)
}

/**
 * Cosines, then sines, of every position's angles: [positions, 2 · pairs], computed in f64. What `rope` reads.
 */
export function ropeTable(
  { perPosition, attentionFactor }: RopeFrequencies,
  positions: number,
  { device = Device.get('cpu'), dtype = 'f32' }: { device?: Device; dtype?: 'f32' | 'f64' } = {},
): Tensor {
  const pairs = perPosition.length
  const values = dtype === 'f64' ? new Float64Array(positions * 2 * pairs) : new Float32Array(positions * 2 * pairs)
  for (let position = 0; position < positions; position++)
    perPosition.forEach((frequency, i) => {
      values[position * 2 * pairs + i] = attentionFactor * Math.cos(position * frequency)
      values[position * 2 * pairs + pairs + i] = attentionFactor * Math.sin(position * frequency)
    })
  return Tensor.from(values, [positions, 2 * pairs], { device })
}

/**
 * The rotary embedding of some layers of a model. Its table holds the positions seen so far, and grows; scalings that
 * depend on the longest sequence of a batch follow it.
 */
export class Rotary {
  readonly #config: ModelConfig
  readonly #options: RotaryOptions
  readonly #follows: boolean
  #table: Tensor | undefined
  #perPosition: Float64Array = new Float64Array()

  constructor(config: ModelConfig, options: RotaryOptions) {
    this.#config = config
    this.#options = options
    this.#follows = followsLength(typeOf(parametersOf(config, options.layerType)))
    ropeFrequencies(config, options) // what is wrong with the config is told at once
  }

  get byteLength(): number {
    return this.#table?.byteLength ?? 0
  }

  /** What turns the rows of a batch. */
  of({ positions, reach }: Batch): RopeInput {
    const { headDim, interleaved = false } = this.#options
    return { positions, table: this.#tableFor(reach), headDim, interleaved }
  }

  #tableFor(reach: number): Tensor {
    // Each layer asks for each token.
    if (this.#table && this.#table.rows >= reach && !this.#follows) return this.#table
    const { device, dtype } = this.#options
    const frequencies = ropeFrequencies(this.#config, { ...this.#options, length: reach })
    const isKnown = this.#perPosition.every((f, i) => f === frequencies.perPosition[i])
    if (!this.#table || !isKnown || this.#table.rows < reach) {
      this.dispose()
      const rows = 2 ** Math.ceil(Math.log2(Math.max(reach, 64)))
      this.#table = ropeTable(frequencies, rows, { device, dtype }).keep()
      this.#perPosition = frequencies.perPosition
    }
    return this.#table
  }

  dispose(): void {
    this.#table?.dispose()
    this.#table = undefined
  }
}

interface RotaryOptions extends Omit<RopeFrequencyOptions, 'length'> {
  readonly device: Device
  readonly dtype: 'f32' | 'f64'
  /** Pairs are neighbours; see `rope`. Default false. */
  readonly interleaved?: boolean
}

/** The object that holds the parameters, of one kind of layer where there are several; empty without any. */
function parametersOf(config: ModelConfig, layerType: string | undefined): ModelConfig {
  const { rope_parameters: current, rope_scaling: older } = config.values
  const key = isJsonObject(current) ? 'rope_parameters' : 'rope_scaling'
  const found = isJsonObject(current) ? current : isJsonObject(older) ? older : {}
  const own = layerType === undefined ? undefined : found[layerType]
  if (isJsonObject(own)) return { ...config, path: `${config.path}: ${key}.${layerType}`, values: own }
  // Gemma 3 before transformers 5: sliding layers have a theta of their own, and no scaling.
  const local = config.values.rope_local_base_freq
  const values: JsonObject =
    layerType === 'sliding_attention' && typeof local === 'number' ? { rope_theta: local } : found
  return { ...config, path: `${config.path}: ${key}`, values }
}

const plain = (perPosition: Float64Array): RopeFrequencies => ({ perPosition, attentionFactor: 1 })

/** theta^(-2i / dim) for pair i. */
function unscaled(theta: number, dim: number): Float64Array {
  return Float64Array.from({ length: dim / 2 }, (_, i) => theta ** ((-2 * i) / dim))
}

/** Theta grows with the sequence, past the length the model knows. */
function dynamic({ parameters, theta, dim, length, maxPositions }: Rope): RopeFrequencies {
  const factor = float(parameters, 'factor')
  const stretch = (factor * Math.max(length, maxPositions)) / maxPositions - (factor - 1)
  return plain(unscaled(theta * stretch ** (dim / (dim - 2)), dim))
}

/** Of the factor by which the context was extended: as given, else what the two lengths say. */
function extension({ parameters, maxPositions, original }: Rope): number {
  return float(parameters, 'factor', maxPositions / original)
}

/** Slow pairs are interpolated, fast ones kept, and a ramp lies between. */
function yarn(rope: Rope): RopeFrequencies {
  const { parameters, theta, dim, original } = rope
  const factor = extension(rope)
  /** The pair that turns so often within the original length. */
  const pairOf = (turns: number) => (dim * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta))
  const whole = parameters.values.truncate !== false
  const first = pairOf(float(parameters, 'beta_fast', 32))
  const last = pairOf(float(parameters, 'beta_slow', 1))
  const low = Math.max(whole ? Math.floor(first) : first, 0)
  const high = Math.min(whole ? Math.ceil(last) : last, dim - 1)
  const width = high === low ? 0.001 : high - low
  const perPosition = unscaled(theta, dim).map((f, i) => {
    const slow = Math.min(Math.max((i - low) / width, 0), 1)
    return slow * (f / factor) + (1 - slow) * f
  })
  return { perPosition, attentionFactor: float(parameters, 'attention_factor', yarnAttention(parameters, factor)) }
}

function yarnAttention(parameters: ModelConfig, factor: number): number {
  const grown = (scale: number) => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1)
  const [scale, all] = [float(parameters, 'mscale', 0), float(parameters, 'mscale_all_dim', 0)]
  return scale && all ? grown(scale) / grown(all) : grown(1)
}

/** A factor for each pair; one list for sequences within the original length, another for longer ones. */
function longrope(rope: Rope): RopeFrequencies {
  const { parameters, theta, dim, length, original } = rope
  const key = length > original ? 'long_factor' : 'short_factor'
  const factors = parameters.values[key]
  check(
    Array.isArray(factors) && factors.length === dim / 2 && factors.every(f => typeof f === 'number' && f > 0),
    'ERR_CONFIG',
    () => `${parameters.path}: ${key} must be ${dim / 2} positive numbers`,
  )
  const factor = extension(rope)
  const grown = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original))
  return {
    perPosition: unscaled(theta, dim).map((f, i) => f / Number(factors[i])),
    attentionFactor: float(parameters, 'attention_factor', grown),
  }
}

/** Long waves are divided by the factor, short ones kept, and those between are blended. */
function llama3({ parameters, theta, dim, original }: Rope): RopeFrequencies {
  const factor = float(parameters, 'factor')
  const [low, high] = [float(parameters, 'low_freq_factor'), float(parameters, 'high_freq_factor')]
  return plain(
    unscaled(theta, dim).map(f => {
      const waves = (original * f) / (2 * Math.PI) // within the original length
      const kept = Math.min(Math.max((waves - low) / (high - low), 0), 1)
      return (1 - kept) * (f / factor) + kept * f
    }),
  )
}
