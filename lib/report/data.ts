// What a report shows, as plain data. Every section is left out when its data are absent.

import type { ConfusionCell } from '../metrics/classification.ts'
import type { McNemar } from '../metrics/compare.ts'
import type { SequenceView } from '../tasks/batchView.ts'
import type { ClassRow, Mistake } from '../tasks/task.ts'

import type { CalibrationData } from './calibration.ts'

export type { CalibrationBin } from '../metrics/probability.ts'
export type { ClassRow, Mistake, TextPiece } from '../tasks/task.ts'
export type { CalibrationData, ThresholdRow } from './calibration.ts'

/** One row of the before/after table. */
export type MetricRow = {
  name: string
  before?: number
  after: number
  /** `share`: a number in [0, 1], shown in percent with differences in points; `number` (default): as it is. */
  unit?: 'share' | 'number'
  /** Default `higher`. */
  better?: 'higher' | 'lower'
  /** Interval of after − before. */
  interval?: { low: number; high: number; confidence: number }
}

/** What a model has to be better than: shares in [0, 1]. */
export type ReferenceRow = { name: string; accuracy: number; macroF1?: number; microF1?: number }

/** The comparison that heads the report; its first row is the one the verdict speaks of. */
export type ComparisonData = {
  /** What "before" was, e.g. `base model, untrained head`. */
  beforeName?: string
  afterName?: string
  /** Scored items and their name, e.g. 500 and `test examples`. */
  items: number
  itemName: string
  metrics: readonly MetricRow[]
  mcnemar?: McNemar
  references?: readonly ReferenceRow[]
}

/** What the run took. */
export type CostData = {
  trainable: number
  total: number
  seconds: number
  peakBytes?: number
  adapterBytes?: number
  tokensPerSecond?: number
  device?: string
}

/** One optimizer step. */
export type StepPoint = { step: number; loss: number; learningRate?: number }

/** One evaluation on the development split; `metrics` in [0, 1] share a chart. */
export type EvaluationPoint = {
  epoch: number
  step?: number
  metrics: Readonly<Record<string, number>>
  best?: boolean
}

/** The cells of a confusion matrix that are not 0, under their labels. */
export type ConfusionData = { labels: readonly string[]; cells: readonly ConfusionCell[] }

/** What the data were. */
export type DataSummary = {
  splits: readonly { name: string; examples: number; labels?: Readonly<Record<string, number>> }[]
  /** Tokens of each training example before truncation. */
  lengths?: ArrayLike<number>
  /** Longest length the model was given, and how many examples were cut to it. */
  maxLength?: number
  truncated?: number
}

/** Singular values of the change of a layer's weight. */
export type Spectrum = { layer: string; values: readonly number[] }

/** A value of the settings and environment tables. */
export type Setting = string | number | boolean | null | readonly (string | number | boolean)[]

/** Everything a report shows. */
export type ReportData = {
  title: string
  /** What was learned, for people. */
  task: string
  /** One or two sentences; composed from the first metric when absent. */
  verdict?: string
  /** ISO 8601. */
  date?: string
  comparison?: ComparisonData
  cost?: CostData
  warnings?: readonly string[]
  steps?: readonly StepPoint[]
  evaluations?: readonly EvaluationPoint[]
  confusion?: ConfusionData
  /** Where one class is the answer. */
  calibration?: CalibrationData
  /** What a row of `classes` is: a class, a label, an entity type. */
  className?: string
  classes?: readonly ClassRow[]
  /** Gold and predicted values of a regression. */
  scatter?: { gold: ArrayLike<number>; predicted: ArrayLike<number> }
  /** Most confident first; the first hundred are shown. */
  mistakes?: readonly Mistake[]
  /** Singular values of what an adapter of factors changes in each layer, largest first. */
  spectra?: readonly Spectrum[]
  /** Training sequences with what the loss looks at. */
  batch?: readonly SequenceView[]
  data?: DataSummary
  settings?: Readonly<Record<string, Setting>>
  environment?: Readonly<Record<string, Setting>>
  /** A command line that makes the run again. */
  command?: string
}
