/**
 * The public API: what the main job needs, from data and a model folder to an adapter that answers. The rest is in
 * `lowrank/data`, `/tokenizer`, `/models`, `/peft`, `/train`, `/tasks`, `/metrics`, `/report`, `/trackers`, `/ops` and
 * `/optim`, one file of `lib/api` each. Importing this one loads the addon, so that a machine that none fits is told at
 * once, and not by the first op.
 *
 * @module
 */

import { openNative } from './native.ts'

export { bundled } from './bundled.ts'
export type { Example } from './data/example.ts'
export { maskingOf } from './data/maskedLm.ts'
export { openDataset } from './data/open.ts'
export type { Row } from './data/row.ts'
export { type ErrorCode, LowrankError } from './errors.ts'
export {
  type CompleteOptions,
  type Completion,
  complete,
  type Generated,
  type GenerateOptions,
  generate,
  generateTokens,
  type Prompt,
} from './generate/generate.ts'
export type { CacheOptions } from './generate/kvCache.ts'
export type { TokenNumbers, TokenOptions } from './generate/options.ts'
export type { TaskName } from './heads/index.ts'
export { type HeadBuilder, loadModel, type Model, type ModelOptions } from './model.ts'
export type { DType, MemoryUse } from './native.ts'
export type { Input } from './open/inputs.ts'
export {
  type AnswerOptions,
  type AskOptions,
  type FolderOptions,
  type OpenModel,
  type OpenTrainedOptions,
  open,
} from './open/open.ts'
export {
  type Adapter,
  type AdapterInfo,
  type AttachOptions,
  adalora,
  attach,
  bitfit,
  bottleneck,
  combine,
  convert,
  dora,
  fullFineTuning,
  ia3,
  type LoadOptions,
  type LoraOptions,
  loadAdapter,
  lora,
  type Method,
  mergeAdapter,
  miss,
  normTuning,
  prefixTuning,
  promptTuning,
  readAdapterInfo,
  type SaveOptions,
  saveAdapter,
  saveMerged,
  svd,
  vera,
} from './peft/index.ts'
export { type PreparedData, prepareData, type SplitOptions } from './tasks/prepare.ts'
export type { Prediction, PredictionRecord } from './tasks/task.ts'
export { Device, scope, Tensor, type TensorData } from './tensor.ts'
export { loadTokenizer, type Tokenizer } from './tokenizer/tokenizer.ts'
export {
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  type PassOptions,
  type PredictExamplesOptions,
  predict,
} from './train/evaluate.ts'
export type { TrainData, TrainEvent, TrainOptions } from './train/events.ts'
export { planTraining, type TrainPlan } from './train/plan.ts'
export { train } from './train/train.ts'

openNative()
