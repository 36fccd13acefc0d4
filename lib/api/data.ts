/**
 * `lowrank/data`: from files and rows to examples and batches. Readers, columns, labels, splits, duplicates; nothing
 * here needs the addon.
 *
 * @module
 */

export type { Offsets, PackOptions } from '../data/batches.ts'
export { type Batches, type BatchOptions, batches, type MicroBatch, packExamples, type Step } from '../data/batches.ts'
export type { PlanOptions } from '../data/batchPlan.ts'
export { type ColumnNames, type Columns, columnNames, findColumns, type UsualNames } from '../data/columns.ts'
export { readConll } from '../data/conll.ts'
export type { ConllOptions } from '../data/conllLayout.ts'
export { type DelimitedOptions, readCsv, readTsv } from '../data/delimited.ts'
export type { DuplicateReport, DuplicateRule, Splits } from '../data/duplicates.ts'
export {
  type Example,
  IGNORED,
  type OtherSequence,
  type Passage,
  type Preference,
  type PreferenceGoal,
  wholeRows,
} from '../data/example.ts'
export { readJsonl } from '../data/jsonl.ts'
export { type LabelMap, type LabelOrder, labelMap, labelsOf, tagLabelsOf } from '../data/labels.ts'
export type { EncodingOptions } from '../data/lines.ts'
export { Dataset, type List } from '../data/list.ts'
export { type BlockOptions, type Masking, maskingOf, maskTokens, textBlocks } from '../data/maskedLm.ts'
export {
  collectRows,
  type DataFile,
  type DataFormat,
  type DataSource,
  type OpenOptions,
  openDataset,
  openFile,
  type SplitName,
} from '../data/open.ts'
export { DATA_OPTIONS } from '../data/options.ts'
export { type Row, toRow, toRows } from '../data/row.ts'
export { type Fractions, parseFractions, splitRows, takeRows } from '../data/split.ts'
export type { LengthStatistics } from '../data/statistics.ts'
export { storeRows } from '../data/storedRows.ts'
export type { TagScheme } from '../data/tags.ts'
export type { Transform } from '../data/transform.ts'
export type { Random } from '../random.ts'
export { type EncodedRows, type ExampleSet, encodeRows } from '../tasks/encode.ts'
export { inferTask, strataOf, type TaskChoice } from '../tasks/infer.ts'
export { type DataInspection, inspectData } from '../tasks/inspect.ts'
export {
  type HeadChoice,
  headFor,
  type PreparedData,
  prepareData,
  type SplitData,
  type SplitOptions,
  splitData,
} from '../tasks/prepare.ts'
