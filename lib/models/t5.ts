// T5 (Raffel et al. 2020), its versions 1.1 and Flan, and mT5: an encoder and a decoder of RMS norms before the
// sublayers, scores that are not scaled, and biases by distance that all layers of a stack share.

import { check } from '../errors.ts'
import { bool, count, float, int, type ModelConfig, probability, string } from '../io/config.ts'
import { Attention, type LayerContext } from '../nn/attention.ts'
import type { Batch } from '../nn/batch.ts'
import type { Embedding } from '../nn/embedding.ts'
import { linearGroup } from '../nn/linear.ts'
import { RelativeBias } from '../nn/relativeBias.ts'
import { withReadRoutes } from '../nn/routes.ts'
import { type Block, type Forward, type ForwardOptions, stack } from '../nn/stack.ts'
import { add } from '../ops/add.ts'
import { dropout } from '../ops/dropout.ts'
import { countingMemory, site } from '../ops/random.ts'
import { scale } from '../ops/scale.ts'
import type { Tensor } from '../tensor.ts'
import { lastOf, mapTuple } from '../tuple.ts'
import { activationOf, gatedOf } from './activations.ts'
import type { Backbone, Family, HeadLayers, HeadSpec, LmLayers } from './family.ts'
import { answerSpan, denseClassifier, tokenClassifier } from './heads.ts'
import { outputOf } from './lmOutput.ts'
import type { Weights } from './weights.ts'

/** Tokens of a sequence. Distances have no limit; it keys dropout, and memory ends before. */
const POSITIONS = 1 << 14

function dims(config: ModelConfig, feedForward: string) {
  const act = string(config, 'feed_forward_proj', feedForward)
  const parts = act.split('-')
  const isGated = parts.length === 2 && parts[0] === 'gated'
  check(isGated || parts.length === 1, 'ERR_CONFIG', () => {
    return `${config.path}: feed_forward_proj "${act}", expected an activation or "gated-" with one`
  })
  const buckets = count(config, 'relative_attention_num_buckets', 32)
  const maxDistance = count(config, 'relative_attention_max_distance', 128)
  check(buckets >= 4 && maxDistance > buckets / 2, 'ERR_CONFIG', () => {
    return `${config.path}: ${buckets} buckets for distances up to ${maxDistance}, expected 4 or more, half of them below it`
  })
  return {
    hidden: count(config, 'd_model', 512),
    heads: count(config, 'num_heads', 8),
    headDim: count(config, 'd_kv', 64),
    intermediate: count(config, 'd_ff', 2048),
    eps: float(config, 'layer_norm_epsilon', 1e-6),
    dropout: probability(config, 'dropout_rate', 0.1),
    buckets,
    maxDistance,
    isGated,
    // What files call gated gelu is gated by the tanh approximation.
    act: act === 'gated-gelu' ? 'gelu_new' : lastOf(parts),
  }
}
type Dims = ReturnType<typeof dims>

/** Hidden state so far, what the last sublayer adds to it, and the biases of the stack's own attention. */
type State = readonly [residual: Tensor, branch: Tensor | undefined, bias: Tensor]
type Sublayer = (x: Tensor, context: LayerContext, bias: Tensor) => Tensor

function attentionOf(w: Weights, d: Dims, causal: boolean) {
  const inner = d.heads * d.headDim
  const options = { heads: d.heads, headDim: d.headDim, scale: 1, causal, rowStride: POSITIONS, dropout: d.dropout }
  return {
    layers: mapTuple(['q', 'k', 'v'], name => w.linear(name, d.hidden, inner, false)),
    output: w.linear('o', inner, d.hidden, false),
    attention: new Attention(w.prefix, options),
  }
}

function selfAttention(w: Weights, d: Dims, causal: boolean): Sublayer {
  const { layers, output, attention } = attentionOf(w, d, causal)
  return (x, context, bias) => {
    const [q, k, v] = linearGroup(layers, x)
    return output.apply(attention.apply(q, k, v, context, { bias }))
  }
}

/** Queries of the decoder, keys and values of what the encoder made: with a cache these are computed once. */
function crossAttention(w: Weights, d: Dims): Sublayer {
  const { layers, output, attention } = attentionOf(w, d, false)
  const [query, ...others] = layers
  return (x, { batch, cache, memory }) => {
    check(memory, 'ERR_OPTION', () => `${w.prefix}: no memory was given; run the encoder first`)
    const pair = () => countingMemory(() => withReadRoutes(() => linearGroup(others, memory.hidden)))
    const [k, v] = cache ? cache.crossed(pair) : pair()
    return output.apply(attention.apply(query.apply(x), k, v, { batch }, { keys: memory }))
  }
}

function feedForward(w: Weights, d: Dims): Sublayer {
  const inner = (name: string) => w.linear(name, d.hidden, d.intermediate, false)
  const layers = d.isGated ? ([inner('wi_0'), inner('wi_1')] as const) : ([inner('wi')] as const)
  const down = w.linear('wo', d.intermediate, d.hidden, false)
  const where = site(down.path, 'input')
  const [plain, gated] = [activationOf(d.act), gatedOf(d.act)]
  return x => {
    const [gate, up] = linearGroup(layers, x)
    return down.apply(dropout(up ? gated(gate, up) : plain(gate), d.dropout, where))
  }
}

function blockOf(w: Weights, d: Dims, isDecoder: boolean): Block<State> {
  const made: [string, (w: Weights) => Sublayer][] = [['SelfAttention', at => selfAttention(at, d, isDecoder)]]
  if (isDecoder) made.push(['EncDecAttention', at => crossAttention(at, d)])
  made.push(['DenseReluDense', at => feedForward(at, d)])
  const sublayers = made.map(([name, make], i) => {
    const at = w.at(`layer.${i}`)
    return { run: make(at.at(name)), norm: at.rmsNorm('layer_norm', d.hidden, d.eps), where: site(at.prefix, 'output') }
  })
  return ([residual, branch, bias], context) => {
    for (const { run, norm, where } of sublayers) {
      const { y, h } = norm.join(residual, branch)
      residual = h
      branch = dropout(run(y, context, bias), d.dropout, where)
    }
    return [residual, branch, bias]
  }
}

/** Words → their embeddings, the layers, and the norm after the last. */
function stackOf(w: Weights, d: Dims, words: Embedding, layers: number, isDecoder: boolean): Forward {
  const blocks = Array.from({ length: layers }, (_, i) => blockOf(w.at(`block.${i}`), d, isDecoder))
  const table = w.at('block.0.layer.0.SelfAttention').parameter('relative_attention_bias.weight', [d.buckets, d.heads])
  const biases = new RelativeBias(table, { bidirectional: !isDecoder, maxDistance: d.maxDistance })
  const norm = w.rmsNorm('final_layer_norm', d.hidden, d.eps)
  const [first, last] = mapTuple(['embeddings', 'output'], kind => site(w.prefix, kind))
  return stack<State>({
    embed: ({ ids, maxLength }: Batch, { cache, prefix }: ForwardOptions) => {
      const longest = cache?.capacity ?? prefix?.maxLength ?? maxLength
      return [dropout(words.apply(ids), d.dropout, first), undefined, biases.table(longest)]
    },
    blocks,
    hidden: ([h, branch]) => (branch ? add(h, branch) : h),
    output: ([h, branch]) => dropout(norm.join(h, branch).y, d.dropout, last),
  })
}

/** Both stacks read the same words; some files hold them under the names of the stacks too, or there alone. */
function adoptWords(weights: Weights): void {
  for (const name of ['encoder', 'decoder'].map(part => `${part}.embed_tokens.weight`)) {
    if (!weights.has(name)) continue
    if (!weights.has('shared.weight')) weights.rename(name, 'shared.weight')
    else if (!weights.differs(name, weights.at('shared.weight').prefix)) weights.skip(name)
  }
}

function build(config: ModelConfig, { base: weights }: Weights, act: string, isEncoder = false): Backbone {
  const d = dims(config, act)
  adoptWords(weights)
  // Checkpoints of version 1.0 hold a bias that nothing reads.
  weights.skip('decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight')
  const table = weights.at('shared').parameter('weight', [count(config, 'vocab_size', 32128), d.hidden])
  // Two modules over one table, as in transformers, so that adapters can tell them apart.
  const words = weights.at('encoder').table('embed_tokens', table)
  const layers = count(config, 'num_layers', 6)
  const decoderLayers = count(config, 'num_decoder_layers', layers)
  const encoder = stackOf(weights.at('encoder'), d, words, layers, false)
  const limits = { vocabSize: words.rows, typeVocabSize: 0, maxPositions: POSITIONS }
  const common = { hiddenSize: d.hidden, kvHeads: d.heads, headDim: d.headDim, wordEmbeddings: words, limits }
  if (isEncoder) {
    weights.at('decoder').skipAll()
    return { ...common, layers, forward: encoder }
  }
  const said = weights.at('decoder').table('embed_tokens', table)
  return {
    ...common,
    layers: decoderLayers,
    startId: int(config, 'decoder_start_token_id', int(config, 'pad_token_id', 0)),
    encode: (batch, options) => {
      const { cuSeqlens, maxLength } = batch
      return { hidden: encoder(batch, options), cuSeqlens, maxLength }
    },
    forward: stackOf(weights.at('decoder'), d, said, decoderLayers, true),
  }
}

/** `scales`: whether rows are divided by √D before the words' own table tells them, where the config doesn't say. */
function lmHead(scales: (config: ModelConfig) => boolean): HeadSpec<LmLayers> {
  return {
    modules: [],
    reads: 'every',
    build(config, weights, backbone) {
      const factor = scales(config) ? backbone.hiddenSize ** -0.5 : 1
      const output = outputOf(config, backbone, weights, 'lm_head', {})
      return { transform: rows => (factor === 1 ? rows : scale(rows, factor)), output }
    },
  }
}

/** A classifier on the last row that ends a text, of a decoder that is given what the encoder was. */
const sequence: HeadSpec<HeadLayers> = {
  ...denseClassifier('tanh', 'classification_head', classifierDropout),
  reads: config => ({ lastOf: int(config, 'eos_token_id', 1) }),
  echoes: true,
  basePrefix: 'transformer',
}

const token: HeadSpec<HeadLayers> = {
  ...tokenClassifier(classifierDropout),
  encoderOnly: true,
  basePrefix: 'transformer',
}

const span: HeadSpec<HeadLayers> = { ...answerSpan(), echoes: true }

function classifierDropout(config: ModelConfig): number {
  return probability(config, 'classifier_dropout', 0)
}

/** Version 1.1 unties its head, and does not scale: transformers 5 says so apart. */
function scalesRows(config: ModelConfig): boolean {
  return bool(config, 'scale_decoder_outputs', bool(config, 'tie_word_embeddings', true))
}

const shared = {
  basePrefix: '',
  headTensors: /^(lm_head|classification_head|classifier|qa_outputs)\./,
  sublayerEnds: { attention: 'o', feedforward: 'wo' },
  wideOnly: 'their hidden states outgrow the range of f16',
}

export const t5: Family = {
  ...shared,
  modelType: 't5',
  className: 'T5',
  build: (config, weights, head) => build(config, weights, 'relu', head?.encoderOnly),
  heads: { sequence, token, span, seq2seqLm: lmHead(scalesRows) },
  untied: config => ({ scale_decoder_outputs: scalesRows(config) }),
}

export const mt5: Family = {
  ...shared,
  modelType: 'mt5',
  className: 'MT5',
  build: (given, weights, head) => {
    // Whatever id pads.
    const config = { ...given, values: { decoder_start_token_id: 0, ...given.values } }
    return build(config, weights, 'gated-gelu', head?.encoderOnly)
  },
  heads: { sequence, token, span, seq2seqLm: lmHead(() => false) },
}
