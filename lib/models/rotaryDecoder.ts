// Decoders of Llama's kind: RMS norms before the sublayers, rotary positions, grouped keys and values, a gated
// feed-forward. A family says how its own differ.

import { check } from '../errors.ts'
import { bool, count, float, type ModelConfig, probability, string } from '../io/config.ts'
import type { JsonObject } from '../io/json.ts'
import { Attention, type LayerContext } from '../nn/attention.ts'
import type { Batch } from '../nn/batch.ts'
import { linearGroup } from '../nn/linear.ts'
import type { RmsNorm } from '../nn/norm.ts'
import { type Rotary, ropeReach } from '../nn/rope.ts'
import { type Block, type PreNorm, preNorm } from '../nn/stack.ts'
import { dropout } from '../ops/dropout.ts'
import { site } from '../ops/random.ts'
import { type RopeInput, rope as turned } from '../ops/rope.ts'
import type { Tensor } from '../tensor.ts'
import { mapTuple, must, nth } from '../tuple.ts'
import { gatedOf } from './activations.ts'
import type { Backbone, Family, HeadSpec, LmLayers } from './family.ts'
import { decoderDropout, lastTokenScore, tokenClassifier } from './heads.ts'
import { adoptTied, outputOf } from './lmOutput.ts'
import { rotaryOf } from './rotary.ts'
import type { Weights } from './weights.ts'

/** How a family differs from Llama. */
export interface Variant {
  /** Of query, key and value; of the attention's output; of the feed-forward. Default false. */
  readonly biases?: { readonly qkv?: boolean; readonly output?: boolean; readonly mlp?: boolean }
  /** Query, key and value are one layer, and gate and up another (Phi-3). */
  readonly isFused?: boolean
  /** Each head of queries and keys has an RMS norm before it is turned. */
  readonly normsHeads?: boolean
  /** Norms after the sublayers too. */
  readonly isSandwich?: boolean
  /** Files hold the weights of norms less this. */
  readonly normOffset?: number
  /** Name of the activation. */
  readonly act?: string
  /** Multiplies the embeddings. */
  readonly embeddingScale?: number
  /** Factor of q·k. Default 1 / √headDim. */
  readonly scoreScale?: number
  /** Bounds of scores and of logits. */
  readonly softcap?: { readonly scores?: number; readonly logits?: number }
  /** Layer i sees only the nearest so many tokens; 0: all. */
  readonly windowOf?: (layer: number) => number
  /** The set of rope parameters of layer i, where there are several. */
  readonly ropeOf?: (layer: number) => string | undefined
  /** Of embeddings, and of the sublayers' outputs. */
  readonly dropout?: { readonly embeddings: number; readonly sublayers: number }
}

interface RotaryDecoder extends Pick<Family, 'modelType' | 'className' | 'inAdapterHub'> {
  /** Its language model's class in transformers, where that is no `ForCausalLM` of the name. */
  readonly lmClassName?: string
  /** Whether `tie_word_embeddings` is true where a config lacks it. */
  readonly isTied: boolean
  readonly headDim?: number
  /** What a config that lacks these keys means, where that is not as in Llama's. */
  readonly defaults?: JsonObject
  readonly variant?: (config: ModelConfig) => Variant
}

interface Dims extends Variant {
  hidden: number
  heads: number
  kvHeads: number
  headDim: number
  intermediate: number
  positions: number
  eps: number
  attentionDropout: number
}

function dims(config: ModelConfig, family: RotaryDecoder): Dims {
  const hidden = count(config, 'hidden_size', 4096)
  const heads = count(config, 'num_attention_heads', 32)
  const kvHeads = count(config, 'num_key_value_heads', heads)
  const headDim = count(config, 'head_dim', family.headDim ?? Math.floor(hidden / heads))
  check(heads % kvHeads === 0, 'ERR_CONFIG', () => {
    return `${config.path}: ${kvHeads} key-value heads do not divide ${heads} attention heads`
  })
  check(!bool(config, 'use_bidirectional_attention', false), 'ERR_CONFIG', () => {
    return `${config.path}: use_bidirectional_attention is true (an embedding model), but only causal decoders run here`
  })
  return {
    hidden,
    heads,
    kvHeads,
    headDim,
    intermediate: count(config, 'intermediate_size', 11008),
    positions: ropeReach(config),
    eps: float(config, 'rms_norm_eps', 1e-6),
    attentionDropout: probability(config, 'attention_dropout', 0),
    act: string(config, 'hidden_act', 'silu'),
    ...family.variant?.(config),
  }
}

type Sublayer = (x: Tensor, context: LayerContext) => Tensor

type Project = (x: Tensor, rope?: RopeInput) => readonly [query: Tensor, key: Tensor, value: Tensor]

/** Width of the queries, and what makes query, key and value of x; the first two are turned by `rope`. */
function projections(w: Weights, d: Dims): readonly [queries: number, project: Project] {
  const [queries, keys, bias] = [d.heads * d.headDim, d.kvHeads * d.headDim, d.biases?.qkv ?? false]
  if (d.isFused) {
    const fused = w.linear('qkv_proj', d.hidden, queries + 2 * keys, bias)
    return [queries, (x, rope) => fused.applyParts(x, [queries, keys, keys], rope && { rope, parts: [0, 1] })]
  }
  const widths = { q_proj: queries, k_proj: keys, v_proj: keys }
  const layers = mapTuple(['q_proj', 'k_proj', 'v_proj'], name => w.linear(name, d.hidden, widths[name], bias))
  return [queries, (x, rope) => linearGroup(layers, x, rope && { rope, layers: layers.slice(0, 2) })]
}

function attentionBlock(w: Weights, d: Dims, rotary: Rotary, layer: number): Sublayer {
  const [queries, project] = projections(w, d)
  const output = w.linear('o_proj', queries, d.hidden, d.biases?.output ?? false)
  const norms = d.normsHeads && mapTuple(['q_norm', 'k_norm'], name => w.rmsNorm(name, d.headDim, d.eps, d.normOffset))
  const attention = new Attention(w.prefix, {
    heads: d.heads,
    kvHeads: d.kvHeads,
    headDim: d.headDim,
    causal: true,
    rowStride: d.positions,
    dropout: d.attentionDropout,
    window: d.windowOf?.(layer) ?? 0,
    softcap: d.softcap?.scores ?? 0,
    ...(d.scoreScale === undefined ? {} : { scale: d.scoreScale }),
  })
  return (x, context) => {
    const rope = rotary.of(context.batch)
    if (norms) {
      const [q, k, v] = project(x)
      const [rotatedQ, rotatedK] = turned(ofHeads(q, norms[0]), ofHeads(k, norms[1]), rope)
      return output.apply(attention.apply(rotatedQ, rotatedK, v, context))
    }
    const [q, k, v] = project(x, rope)
    return output.apply(attention.apply(q, k, v, context))
  }
}

/** Each head of x [N, heads · dim] through the norm. */
function ofHeads(x: Tensor, norm: RmsNorm): Tensor {
  const dim = norm.weight.rows
  return norm.apply(x.reshape([x.size / dim, dim])).reshape(x.shape)
}

/** What makes the gate and what it opens, of x. */
function feedParts(w: Weights, d: Dims, bias: boolean): (x: Tensor) => readonly [gate: Tensor, up: Tensor] {
  if (d.isFused) {
    const fused = w.linear('gate_up_proj', d.hidden, 2 * d.intermediate, bias)
    return x => fused.applyParts(x, [d.intermediate, d.intermediate])
  }
  const layers = mapTuple(['gate_proj', 'up_proj'], name => w.linear(name, d.hidden, d.intermediate, bias))
  return x => linearGroup(layers, x)
}

function mlpBlock(w: Weights, d: Dims): Sublayer {
  const bias = d.biases?.mlp ?? false
  const parts = feedParts(w, d, bias)
  const down = w.linear('down_proj', d.intermediate, d.hidden, bias)
  const gated = gatedOf(must(d.act, 'act'))
  return x => {
    const [gate, up] = parts(x)
    return down.apply(gated(gate, up))
  }
}

function layerOf(w: Weights, d: Dims, rotary: Rotary, layer: number): Block<PreNorm> {
  const attend = attentionBlock(w.at('self_attn'), d, rotary, layer)
  const feed = mlpBlock(w.at('mlp'), d)
  const norm = (name: string) => w.rmsNorm(name, d.hidden, d.eps, d.normOffset)
  const before = norm('input_layernorm')
  const between = norm(d.isSandwich ? 'pre_feedforward_layernorm' : 'post_attention_layernorm')
  const after = d.isSandwich && ['post_attention_layernorm', 'post_feedforward_layernorm'].map(norm)
  const [attended, fed] = mapTuple(['self_attn', 'mlp'], (name, i) => {
    const where = site(w.at(name).prefix, 'output')
    return (x: Tensor) => dropout(after ? nth(after, i).apply(x) : x, d.dropout?.sublayers ?? 0, where)
  })
  return ([residual, branch], context) => {
    const { y, h } = before.join(residual, branch)
    const next = between.join(h, attended(attend(y, context)))
    return [next.h, fed(feed(next.y, context))]
  }
}

function build(given: ModelConfig, weights: Weights, family: RotaryDecoder): Backbone {
  const config = { ...given, values: { ...family.defaults, ...given.values } }
  const d = dims(config, family)
  const w = weights.at('model')
  adoptTied(config, weights, 'lm_head.weight', 'model.embed_tokens.weight', family.isTied)
  const words = w.embedding('embed_tokens', count(config, 'vocab_size', 32000), d.hidden, undefined, d.embeddingScale)
  const rotaries = new Map<string | undefined, Rotary>()
  const rotaryFor = (layerType: string | undefined) => {
    const rotary = rotaries.get(layerType) ?? rotaryOf(weights, config, d.headDim, layerType)
    rotaries.set(layerType, rotary)
    return rotary
  }
  const layers = Array.from({ length: count(config, 'num_hidden_layers', 32) }, (_, i) =>
    layerOf(w.at(`layers.${i}`), d, rotaryFor(d.ropeOf?.(i)), i),
  )
  const norm = w.rmsNorm('norm', d.hidden, d.eps, d.normOffset)
  const where = site(w.prefix, 'embeddings')
  const embed = ({ ids }: Batch) => dropout(words.apply(ids), d.dropout?.embeddings ?? 0, where)
  return {
    hiddenSize: d.hidden,
    kvHeads: d.kvHeads,
    headDim: d.headDim,
    layers: layers.length,
    wordEmbeddings: words,
    limits: { vocabSize: words.rows, typeVocabSize: 0, maxPositions: d.positions },
    forward: preNorm(embed, layers, norm),
  }
}

/** A family of this kind. */
export function rotaryDecoder(family: RotaryDecoder): Family {
  const { modelType, className, lmClassName } = family
  const causalLm: HeadSpec<LmLayers> = {
    ...(lmClassName === undefined ? {} : { className: lmClassName }),
    modules: [],
    reads: 'every',
    build(config, weights, backbone) {
      const softcap = family.variant?.(config).softcap?.logits ?? 0
      const output = outputOf(config, backbone, weights, 'lm_head', { isTied: family.isTied })
      return { transform: rows => rows, output, softcap }
    },
  }
  return {
    modelType,
    className,
    basePrefix: 'model',
    headTensors: /^(lm_head|score|qa_outputs)\./,
    build: (config, weights) => build(config, weights, family),
    sublayerEnds: { attention: 'o_proj', feedforward: 'down_proj' },
    ...(family.inAdapterHub ? { inAdapterHub: true } : {}),
    heads: { sequence: lastTokenScore, token: tokenClassifier(decoderDropout, 'score'), causalLm },
  }
}
