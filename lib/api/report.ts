/**
 * `lowrank/report`: a run as a record, as tables and as one HTML file.
 *
 * @module
 */

export type { Compared, MetricPair } from '../report/compare.ts'
export { type Comparison, compareEvaluations } from '../report/compare.ts'
export type {
  CalibrationBin,
  CalibrationData,
  ComparisonData,
  ConfusionData,
  CostData,
  DataSummary,
  EvaluationPoint,
  MetricRow,
  ReferenceRow,
  Setting,
  Spectrum,
  StepPoint,
  ThresholdRow,
} from '../report/data.ts'
export { type ReportData, renderReport, writeReport } from '../report/report.ts'
export type { RunParts } from '../report/run.ts'
export { type RunFacts, type RunRecord, type RunResult, recordRun, reportData, resultOf } from '../report/run.ts'
export type { TextBaseline } from '../tasks/textBaseline.ts'
