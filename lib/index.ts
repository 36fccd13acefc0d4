// The public API. Six names do the main job: loadModel, lora, attach, train, evaluate, saveAdapter.
// Importing it loads the addon, so that a machine that none fits is told at once, and not by the first op.

import { openNative } from './native.ts'

export { bundled } from './bundled.ts'
export { type Batches, type BatchOptions, batches, type MicroBatch, packExamples, type Step } from './data/batches.ts'
export type { ColumnNames, Columns } from './data/columns.ts'
export { readConll } from './data/conll.ts'
export type { ConllOptions } from './data/conllLayout.ts'
export {
  arrayDataset,
  type Dataset,
  type JsonlDataset,
  jsonlDataset,
  type RowSource,
  rowsOf,
} from './data/dataset.ts'
export { type DelimitedOptions, readCsv, readTsv } from './data/delimited.ts'
export type { DuplicateReport, DuplicateRule, Splits } from './data/duplicates.ts'
export { type Example, IGNORED } from './data/example.ts'
export { readJsonl } from './data/jsonl.ts'
export { checkSameLabels, type LabelMap, type LabelOrder, labelMap, labelsOf, tagLabelsOf } from './data/labels.ts'
export { type BlockOptions, type Masking, maskingOf, maskTokens, textBlocks } from './data/maskedLm.ts'
export {
  collectRows,
  type DataFile,
  type DataFormat,
  type DataSource,
  type OpenOptions,
  openDataset,
  openFile,
  type SplitName,
} from './data/open.ts'
export { type Row, toRow, toRows } from './data/row.ts'
export { type Fractions, parseFractions, splitRows, takeRows } from './data/split.ts'
export type { Transform } from './data/transform.ts'
export { type ErrorCode, LowrankError } from './errors.ts'
export {
  type Generated,
  type GenerateOptions,
  generate,
  generateTokens,
  type TokenOptions,
} from './generate/generate.ts'
export type { Head, LossOptions, Problem } from './heads/head.ts'
export type { Task } from './heads/index.ts'
export { sequenceClassification } from './heads/sequenceClassification.ts'
export { tokenClassification } from './heads/tokenClassification.ts'
export {
  type Average,
  accuracy,
  type ClassificationReport,
  classificationReport,
  confusionMatrix,
  matthewsCorrelation,
  precisionRecallF1,
} from './metrics/classification.ts'
export {
  type BootstrapInterval,
  type BootstrapOptions,
  bootstrapAccuracy,
  bootstrapEntityF1,
  bootstrapMacroF1,
  type McNemar,
  mcnemar,
  mcnemarOfPredictions,
  pairedBootstrap,
} from './metrics/compare.ts'
export {
  type EntityMode,
  type EntityReport,
  type EntitySpan,
  entityReport,
  entitySpans,
} from './metrics/entities.ts'
export { type MultiLabelReport, multiLabelReport } from './metrics/multiLabel.ts'
export { type PerplexityReport, perplexityReport } from './metrics/perplexity.ts'
export { expectedCalibrationError, logLoss, rocAuc, rocAucOneVsRest } from './metrics/probability.ts'
export { type RegressionReport, regressionReport } from './metrics/regression.ts'
export type { Scores } from './metrics/scores.ts'
export { createModel, type HeadBuilder, loadModel, type Model, type ModelOptions } from './model.ts'
export { MODEL_TYPES } from './models/index.ts'
export type { DType, MemoryUse } from './native.ts'
export type { PackedBatch } from './nn/batch.ts'
export type { Linear } from './nn/linear.ts'
export type { Parameter } from './nn/module.ts'
export { type AskOptions, type Input, OpenModel, type OpenTrainedOptions, open } from './open/open.ts'
export { activation } from './ops/activation.ts'
export { add } from './ops/add.ts'
export { bce } from './ops/bce.ts'
export { crossEntropy } from './ops/crossEntropy.ts'
export { dropout } from './ops/dropout.ts'
export { matmul } from './ops/matmul.ts'
export { mse } from './ops/mse.ts'
export { multiply } from './ops/multiply.ts'
export { site, withRandom } from './ops/random.ts'
export { scale } from './ops/scale.ts'
export { AdamW, type AdamWOptions } from './optim/adamw.ts'
export { Arena, type States } from './optim/arena.ts'
export { learningRate, type Schedule, type ScheduleOptions } from './optim/schedule.ts'
export * from './peft/index.ts'
export { type Comparison, compareEvaluations } from './report/compare.ts'
export { type ReportData, renderReport, writeReport } from './report/report.ts'
export { type RunFacts, type RunRecord, type RunResult, recordRun, reportData, resultOf } from './report/run.ts'
export { type EncodedRows, encodeRows } from './tasks/encode.ts'
export { TASKS, taskOf, taskOfModel } from './tasks/index.ts'
export { inferTask, strataOf, type TaskChoice } from './tasks/infer.ts'
export { type DataInspection, inspectData } from './tasks/inspect.ts'
export type { ItemsPrediction } from './tasks/items.ts'
export { type PreparedData, prepareData, type SplitData, type SplitOptions, splitData } from './tasks/prepare.ts'
export type { ValuesPrediction } from './tasks/regression.ts'
export type { ClassPrediction, LabelsPrediction } from './tasks/sequence.ts'
export type { EncodeSpec, Mistake, Prediction, PredictionRecord, Task as TaskKind } from './tasks/task.ts'
export { Device, scope, Tensor, type TensorData } from './tensor.ts'
export {
  type Encoded,
  type EncodedWords,
  type EncodeOptions,
  loadTokenizer,
  type Tokenizer,
} from './tokenizer/tokenizer.ts'
export {
  createTracker,
  jsonlTracker,
  type RunDescription,
  registerTracker,
  type Tracker,
  tensorboardTracker,
} from './trackers/index.ts'
export { type EvaluateOptions, type Evaluation, evaluate, predict } from './train/evaluate.ts'
export type {
  CheckpointEvent,
  EndEvent,
  EpochEvent,
  EvaluationEvent,
  StartEvent,
  StepEvent,
  TrainData,
  TrainEvent,
  TrainOptions,
  WarningEvent,
} from './train/events.ts'
export {
  type Communicator,
  type Objective,
  type StepNumbers,
  Stepper,
  type StepperOptions,
  type SupervisedOptions,
  supervised,
} from './train/step.ts'
export { train } from './train/train.ts'

openNative()
