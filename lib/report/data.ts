// What a report shows, as plain data. Every section is left out when its data are absent.

import type { McNemar } from '../metrics/compare.ts'
import type { EntitySpan } from '../metrics/entities.ts'
import type { Scores } from '../metrics/scores.ts'

/** What was learned; it chooses words, not sections. */
export type ReportTask =
  | 'classification'
  | 'multi-label'
  | 'regression'
  | 'token-classification'
  | 'masked-lm'
  | 'causal-lm'

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

/** [gold][predicted] counts under their labels. */
export type ConfusionData = { labels: readonly string[]; counts: readonly (readonly number[])[] }

/** Scores of one class or entity type. */
export type ClassRow = Scores & { label: string; predicted: number }

/** A wrong answer; `probability` is the model's for what it predicted, in [0, 1]. */
export type Mistake =
  | { kind: 'label'; text: string; gold: string; predicted: string; probability: number }
  | { kind: 'labels'; text: string; gold: readonly string[]; predicted: readonly string[]; probability: number }
  | { kind: 'value'; text: string; gold: number; predicted: number }
  | {
      kind: 'spans'
      words: readonly string[]
      gold: readonly EntitySpan[]
      predicted: readonly EntitySpan[]
      probability?: number
    }
  | { kind: 'token'; left: string; right: string; gold: string; predicted: string; probability: number }

/** What the data were. */
export type DataSummary = {
  splits: readonly { name: string; examples: number; labels?: Readonly<Record<string, number>> }[]
  /** Tokens of each training example before truncation. */
  lengths?: ArrayLike<number>
  /** Longest length the model was given, and how many examples were cut to it. */
  maxLength?: number
  truncated?: number
}

/** A value of the settings and environment tables. */
export type Setting = string | number | boolean | null | readonly (string | number | boolean)[]

/** Everything a report shows. */
export type ReportData = {
  title: string
  task: ReportTask
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
  classes?: readonly ClassRow[]
  /** Gold and predicted values of a regression. */
  scatter?: { gold: ArrayLike<number>; predicted: ArrayLike<number> }
  /** Most confident first; the first twenty are shown. */
  mistakes?: readonly Mistake[]
  data?: DataSummary
  settings?: Readonly<Record<string, Setting>>
  environment?: Readonly<Record<string, Setting>>
}
