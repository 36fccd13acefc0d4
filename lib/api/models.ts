/**
 * `lowrank/models`: models, their layers and heads: for models made from a config, and heads of one's own.
 *
 * @module
 */

export type { Collate, SequenceBounds, Targets } from '../data/targets.ts'
export type {
  Aside,
  BatchPart,
  DeviceAnswers,
  Head,
  Judged,
  LossesTogether,
  LossOptions,
  Problem,
} from '../heads/head.ts'
export { headTasks, type TaskName } from '../heads/index.ts'
export type { Likeliest, LikeliestRows } from '../heads/likeliest.ts'
export { sequenceClassification } from '../heads/sequenceClassification.ts'
export { tokenClassification } from '../heads/tokenClassification.ts'
export type { ModelConfig } from '../io/config.ts'
export { createModel, type HeadBuilder, loadModel, type Model, type ModelOptions } from '../model.ts'
export type { Backbone, Family, HeadLayers, HeadSpec, Heads, LmLayers, Reads, SublayerEnds } from '../models/family.ts'
export { MODEL_TYPES } from '../models/index.ts'
export type { LoadSettings, ModelBuffer, TensorSource, Weights } from '../models/weights.ts'
export type { EncoderMemory, LayerCache, Sequences } from '../nn/attention.ts'
export type { Batch, InputLimits, InputRules, PackedBatch } from '../nn/batch.ts'
export type { Embedding } from '../nn/embedding.ts'
export type { Linear, LinearAdapter } from '../nn/linear.ts'
export type { Parameter, Storage } from '../nn/module.ts'
export type { BranchDropout, LayerNorm, Norm, RmsNorm } from '../nn/norm.ts'
export type { Forward, ForwardOptions, SharedLayers, StackCache } from '../nn/stack.ts'
export type { BatchPrefix, VirtualTokens } from '../nn/virtual.ts'
export type { Base, BaseSettings } from '../open/base.ts'
export type { Trained, TrainedSettings } from '../open/trained.ts'
export type { LossRows } from '../ops/linearCrossEntropy.ts'
export type { Each } from '../tuple.ts'
