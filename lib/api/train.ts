/**
 * `lowrank/train`: training, evaluation and prediction, whole or step by step.
 *
 * @module
 */

export { type AnswersOptions, type Say, sayWith } from '../generate/answers.ts'
export type { CompleteOptions, Completion, Prompt } from '../generate/generate.ts'
export type { CacheOptions } from '../generate/kvCache.ts'
export type { Domain, FilledOf, Kind, Kinds, OptionRow, OptionTable, Search, ValueOf, ValuesOf } from '../options.ts'
export { SEED } from '../options.ts'
export { type DistillationOptions, distilled, TEACHER_WEIGHT, TEMPERATURE } from '../train/distillation.ts'
export {
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  type PassOptions,
  type PredictExamplesOptions,
  predict,
} from '../train/evaluate.ts'
export type {
  Before,
  CheckpointEvent,
  EndEvent,
  EndReason,
  EpochEvent,
  EvaluationEvent,
  HistoryEntry,
  Resumed,
  StartEvent,
  StepEvent,
  TrainData,
  TrainEvent,
  TrainExamples,
  TrainOptions,
  WarningCode,
  WarningEvent,
} from '../train/events.ts'
export { type ManyEvent, type ManyOptions, type TrainMember, trainMany, whyAlone } from '../train/many.ts'
export type { TrainOptionName, TrainValues } from '../train/options.ts'
export { TRAIN_OPTIONS } from '../train/options.ts'
export { planTraining, type TrainPlan } from '../train/plan.ts'
export type { PredictOptions, Predictor } from '../train/predict.ts'
export { predictRows } from '../train/predict.ts'
export { type ReferenceOptions, withReference } from '../train/reference.ts'
export type { Length } from '../train/run.ts'
export { type SearchRange, searchSpace } from '../train/searchSpace.ts'
export {
  type Communicator,
  type GradientWork,
  type Objective,
  type SharedPasses,
  type StepNumbers,
  Stepper,
  type StepperOptions,
  type SupervisedOptions,
  supervised,
} from '../train/step.ts'
export { train } from '../train/train.ts'
export { type SampleTextOptions, Tuner, type UpdateOptions } from '../train/tuner.ts'
