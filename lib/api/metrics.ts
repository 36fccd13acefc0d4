/**
 * `lowrank/metrics`: scores of labels, numbers, entities and language models, and how sure they are; equal to
 * those of scikit-learn, seqeval, rouge-score and sacrebleu. Nothing here needs the addon.
 *
 * @module
 */

export type { AverageOptions, ClassScores, ConfusionCell } from '../metrics/classification.ts'
export {
  type Average,
  accuracy,
  type ClassificationReport,
  classificationReport,
  confusionMatrix,
  matthewsCorrelation,
  precisionRecallF1,
} from '../metrics/classification.ts'
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
} from '../metrics/compare.ts'
export type { Tags } from '../metrics/entities.ts'
export {
  type EntityMode,
  type EntityReport,
  type EntitySpan,
  entityReport,
  entitySpans,
} from '../metrics/entities.ts'
export type { Indicators } from '../metrics/multiLabel.ts'
export { type MultiLabelReport, multiLabelReport } from '../metrics/multiLabel.ts'
export type { TokenLoss } from '../metrics/perplexity.ts'
export { type PerplexityReport, perplexityReport } from '../metrics/perplexity.ts'
export type { Probabilities } from '../metrics/probability.ts'
export { expectedCalibrationError, logLoss, rocAuc, rocAucOneVsRest } from '../metrics/probability.ts'
export { type RegressionReport, regressionReport } from '../metrics/regression.ts'
export type { Scores, ZeroDivision } from '../metrics/scores.ts'
export { type AnswerReport, type AnswerScore, answerReport, answerScore } from '../metrics/squad.ts'
export { METRICS, type Metric } from '../metrics/table.ts'
export {
  bleu,
  chrf,
  isExact,
  type RougeScore,
  rougeL,
  rougeN,
  type TextStatistics,
  textStatistics,
} from '../metrics/texts.ts'
