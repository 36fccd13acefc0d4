// What a task is: one object that knows its columns, labels, examples, answers, scores and words for people.

import type { MicroBatch } from '../data/batches.ts'
import type { ColumnNames, Columns } from '../data/columns.ts'
import type { Splits } from '../data/duplicates.ts'
import type { Example } from '../data/example.ts'
import type { LabelMap, LabelOrder } from '../data/labels.ts'
import type { List } from '../data/list.ts'
import type { Row } from '../data/row.ts'
import type { Transform } from '../data/transform.ts'
import type { Problem } from '../heads/head.ts'
import type { TaskName } from '../heads/index.ts'
import type { ClassificationReport, ConfusionCell } from '../metrics/classification.ts'
import type { BootstrapInterval } from '../metrics/compare.ts'
import type { EntityReport } from '../metrics/entities.ts'
import type { MultiLabelReport } from '../metrics/multiLabel.ts'
import type { PerplexityReport } from '../metrics/perplexity.ts'
import type { RegressionReport } from '../metrics/regression.ts'
import type { Scores } from '../metrics/scores.ts'
import type { AnswerReport } from '../metrics/squad.ts'
import type { OptionTable } from '../options.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { Answers } from './logits.ts'

/** What rows are encoded for. */
export interface EncodeSpec {
  readonly columns: Columns
  /** Required where labels are read as classes. */
  readonly labels?: LabelMap | undefined
  /** Most tokens of an example, special tokens included. */
  readonly maxLength: number
  /** What of {@link Task.options} was given. */
  readonly taskOptions?: TaskValues | undefined
  /** Leave labels out even where the rows have them. */
  readonly unlabelled?: boolean | undefined
}

/** Values of a task's own options by name. */
export type TaskValues = Readonly<Record<string, unknown>>

/** What a model says about one example, and the truth where it is known; each task has a form of its own. */
export interface Prediction {
  readonly gold: unknown
  readonly predicted: unknown
  readonly probabilities?: Float32Array
  /** What was generated, where it was asked for. */
  readonly words?: Words
}

/** A generated text, and the one that was wanted. */
export interface Words {
  readonly said: string
  readonly wanted: string
}

/** What a comparison of two models looks at. */
export type Answer<P extends Prediction = Prediction> = Pick<P, 'gold' | 'predicted' | 'words'>

/** What is needed to say what a prediction means. */
export interface Reader {
  readonly tokenizer: Tokenizer
  readonly labels: readonly string[]
  readonly columns: Columns
}

/** One prediction as plain data: the text, and what the task says about it. */
export type PredictionRecord = { readonly text: string; readonly [key: string]: unknown }

/** A piece of a line for people. */
export interface TextRun {
  readonly text: string
  readonly style?: 'bold' | 'dim' | 'cyan'
  /** Columns it takes at least, filled with blanks. */
  readonly width?: number
}

/** A piece of a text that may be marked: found, missed or wrong, with the name of what it is. */
export interface TextPiece {
  readonly text: string
  readonly mark?: 'right' | 'missed' | 'wrong' | 'blank'
  readonly name?: string
}

/** A wrong answer; `probability` is the model's for what it predicted, in [0, 1]. */
export interface Mistake {
  /** What was read; absent where gold and predicted are the text itself. */
  readonly text?: readonly TextPiece[]
  /** A number, a name, or the whole text with its parts marked. */
  readonly gold: number | string | readonly TextPiece[]
  readonly predicted: number | string | readonly TextPiece[]
  readonly probability?: number
}

/** Scores of one class, label or type. */
export type ClassRow = Scores & { label: string; predicted: number }

/** The reports of an evaluation by name, as metrics/ makes them. */
export interface Reports {
  readonly classification?: ClassificationReport
  readonly multiLabel?: MultiLabelReport
  readonly entities?: EntityReport
  readonly entitiesStrict?: EntityReport
  /** One an output. */
  readonly regression?: readonly RegressionReport[]
  readonly perplexity?: PerplexityReport
  readonly answers?: AnswerReport
}

/** Numbers of an evaluation. */
export interface Scored {
  /** By name; metrics/table.ts knows them all. */
  readonly metrics: Record<string, number>
  readonly reports: Reports
}

/** What tables and charts show of an evaluation beside its metrics. */
export interface Details {
  /** What a row of `classes` is: a class, a label, an entity type. */
  readonly className?: string
  readonly classes?: readonly ClassRow[]
  readonly confusion?: { readonly labels: readonly string[]; readonly cells: readonly ConfusionCell[] }
  /** Of one output. */
  readonly scatter?: { readonly gold: readonly number[]; readonly predicted: readonly number[] }
}

/** What the loss looks at in one sequence of a batch. */
export interface Supervision {
  /** What is shown in place of the tokens of the batch, where a decoder has some of its own. */
  readonly tokens?: readonly string[]
  /** Label of the sequence: a name, names, or numbers. */
  readonly label?: string | readonly string[] | readonly number[]
  /** What is expected at each token; null where nothing is. */
  readonly tokenLabels?: readonly (string | null)[]
  /** Weight in the sum of losses, before it is divided by the weight of the step. */
  readonly weight: number
}

/** Something about the labels of a split that is likely not meant. */
export interface LabelWarning {
  readonly code: 'one-class' | 'missing-class'
  readonly message: string
  readonly cure: string
}

/** Data as they are looked at: every split, the columns, and the labels that are to be kept to. */
export interface LabelSource {
  readonly splits: Partial<Splits>
  readonly columns: Columns
  readonly labels?: LabelMap | undefined
}

/** Converted rows, and the labels where the conversion settles them. */
export interface Converted {
  readonly splits: Partial<Splits>
  readonly labels?: LabelMap | undefined
}

/** Rows in the form that a task reads, and the names of their columns where these are settled. */
export interface Adopted {
  readonly splits: Partial<Splits>
  readonly given: ColumnNames | undefined
}

/** One task: the files that list it are tasks/index.ts and, for its head, heads/. */
export interface Task<P extends Prediction = Prediction, R extends PredictionRecord = PredictionRecord> {
  /** As options and files name it. */
  readonly name: TaskName
  /** The columns without which it can't be: `words and tags`. */
  readonly needs: string
  /** Usual names of its columns, by which it is known where a data set has them all. */
  readonly usual?: readonly Columns[]
  /** How the labels of a sequence are read, where the task leaves that open. */
  readonly problem?: Problem
  /** For people. */
  readonly title: string
  /** Options that it has for itself: flags, YAML keys, help, docs and checks follow. */
  readonly options?: OptionTable
  /** Of tokens: how many of the likeliest predict tells of each, unless told otherwise. */
  readonly tells?: number
  /** What stands for a user's own texts where asking is shown, by the names of its parts; a text or two unless told. */
  readonly asked?: Readonly<Record<string, string>>
  /** Its records can name the likeliest answers, as many as `top`. */
  readonly ranks?: boolean
  /** Each answer is one class. */
  readonly oneClass?: boolean
  /** It answers in words: `generate` says what, not `read`. */
  readonly says?: boolean
  /** Answers are told beside those of a reference: of that itself, right and wrong say nothing. */
  readonly relative?: boolean
  /** Answers are nearer or farther, not right or wrong. */
  readonly graded?: boolean

  /** Rows in another form that is this task's, as it reads them; undefined for all others. */
  adopt?(splits: Partial<Splits>, given: ColumnNames | undefined, notice: (text: string) => void): Adopted | undefined
  /**
   * Whether rows of these columns are this task's: the reason, or undefined. With `asked` the user named the task.
   * @throws ERR_DATA where the task was asked for and the rows do not fit
   */
  infer(rows: List<Row>, columns: Columns, asked: Asked): string | undefined
  /** Labels as the rest expects them: tags in one scheme, vectors as names; `notice` tells what was changed. */
  convert?(source: LabelSource, notice: (text: string) => void): Converted
  /** The classes of the data; absent where the task has none. */
  labels?(rows: List<Row>, columns: Columns, order?: LabelOrder): LabelMap
  /** Names of the outputs where there are no classes. */
  outputs?(rows: List<Row>, columns: Columns): readonly string[]
  /** Options of its own that the rows trained on settle, where they are not given. */
  found?(rows: List<Row>, columns: Columns): TaskValues
  /** A name a row: splits keep the shares of these. */
  strata(rows: List<Row>, columns: Columns): List<string>
  /** Rows without labels and their columns as `encode` takes them. @throws ERR_DATA where they are of another kind */
  readable(rows: List<Row>, columns: Columns): { rows: List<Row>; columns: Columns }
  /** What makes the labels of its examples, where they have none by themselves. */
  transform?(tokenizer: Tokenizer, options: TaskValues): Transform
  /** A row as examples: one, or as many as it has parts. */
  encode(row: Row, tokenizer: Tokenizer, spec: EncodeSpec): Iterable<Example>
  /** A row without label as the examples that predict reads: all of it, in windows where it is too long for one. */
  parts(row: Row, tokenizer: Tokenizer, spec: EncodeSpec): readonly Example[]
  /**
   * One prediction of those of the parts; without it, each part has a record of its own. Evaluation puts together what
   * has a {@link Example.part}.
   */
  merge?(predictions: readonly P[], parts: readonly Example[]): P

  /** Ids of the classes that an example is labelled with. */
  classes?(label: Example['label']): Iterable<number>
  /** What the learning rate and the number of steps of a run are multiplied by where nothing is said; 1 each. */
  readonly pace?: Readonly<Record<'lr' | 'steps', number>>
  /** Class weights where nothing is said; undefined where all weigh alike. */
  weights?(labels: readonly string[]): readonly number[] | undefined
  /** `balanced` class weights of counts over so many examples. */
  balance?(counts: Int32Array, examples: number): number[]
  /** Looks at the counts of classes of a split. @throws ERR_DATA where training on them makes no sense */
  checkCounts?(split: string, counts: Int32Array, labels: readonly string[]): LabelWarning[]

  /** What a forward pass says as predictions, one an example; `top` asks for so many of the likeliest. */
  read(answers: Answers, examples: readonly Example[], batch: MicroBatch, top: number): P[]
  score(predictions: readonly P[], labels: readonly string[], loss: { mean: number; weight: number }): Scored
  /** The metric that judges the task unless told otherwise. */
  metric(labels: readonly string[]): string
  /** A prediction from which every metric can be computed once, to know their names. */
  sample(outputs: number): P
  /** Titles that say more than the table of metrics can: which average a score is. */
  titles?(labels: readonly string[]): Readonly<Record<string, string>>
  /** Metrics that stand first in a table. */
  leading?(labels: readonly string[]): readonly string[]
  resample(
    before: readonly Answer<P>[],
    after: readonly Answer<P>[],
    labels: readonly string[],
    seed: number,
  ): Readonly<Record<string, BootstrapInterval>>
  details?(reports: Reports, predictions: readonly P[], labels: readonly string[]): Details

  /** Whether all of it is right. */
  right(answer: Answer<P>): boolean
  /** How sure the model was of a wrong answer; undefined for a right one. */
  wrong(prediction: P): number | undefined
  mistake(prediction: P, example: Example, reader: Reader): Mistake
  /** `top` asks for the likeliest answers. */
  record(prediction: P, example: Example, reader: Reader, top: number): R
  /** A record as one line for people. */
  line(record: R): readonly TextRun[]
  /** What the loss looks at in sequence `i` of a batch. */
  view(batch: MicroBatch, i: number, reader: Omit<Reader, 'columns'>, weights?: readonly number[]): Supervision
}

/** What the user asked for. */
export interface Asked {
  readonly task?: string | undefined
  /** How labels are to be read: a trained model knows. */
  readonly problem?: Problem | undefined
  /** Names of the labels. */
  readonly labels?: LabelMap | undefined
  /** Tasks that the model has heads for; any, where no model is known. */
  readonly able?: readonly string[] | undefined
}
