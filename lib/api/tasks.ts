/**
 * `lowrank/tasks`: what models are trained for, as objects: their columns, labels, examples, predictions and scores.
 *
 * @module
 */

export type { SequenceView } from '../tasks/batchView.ts'
export { CHAT_OPTIONS, type ChatOptions } from '../tasks/chat.ts'
export { TASKS, taskNames, taskOf, taskOfModel } from '../tasks/index.ts'
export type { ColumnInfo } from '../tasks/inspect.ts'
export type { ItemsPrediction } from '../tasks/items.ts'
export type { Answers, LogitRows } from '../tasks/logits.ts'
export type { GivenSplits } from '../tasks/prepare.ts'
export type { Candidate, QuestionPrediction } from '../tasks/questionAnswering.ts'
export type { ValuesPrediction } from '../tasks/regression.ts'
export type { ClassPrediction, LabelsPrediction } from '../tasks/sequence.ts'
export type { Majority } from '../tasks/supervision.ts'
export type {
  Adopted,
  Answer,
  Asked,
  ClassRow,
  Converted,
  Details,
  EncodeSpec,
  LabelSource,
  LabelWarning,
  Mistake,
  Prediction,
  PredictionRecord,
  Reader,
  Reports,
  Scored,
  Supervision,
  Task,
  TaskValues,
  TextPiece,
  TextRun,
  Words,
} from '../tasks/task.ts'
