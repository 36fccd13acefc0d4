// From a path or rows to examples of three splits: the order in which the parts of this room are used.

import { type ColumnNames, type Columns, columnNames } from '../data/columns.ts'
import {
  type DuplicateReport,
  type DuplicateRule,
  mapRows,
  resolveDuplicates,
  SPLITS,
  type Splits,
  splitHash,
} from '../data/duplicates.ts'
import { type LabelMap, type LabelOrder, labelMap, likeNames } from '../data/labels.ts'
import { joinedLists, type List } from '../data/list.ts'
import { type DataSource, OPEN_OPTIONS, type OpenOptions, openDataset } from '../data/open.ts'
import { DATA_OPTIONS } from '../data/options.ts'
import { checkRows, placeOf, type Row } from '../data/row.ts'
import { checkFractions, type Fractions, parseFractions, splitRows, takeRows } from '../data/split.ts'
import { storeRows } from '../data/storedRows.ts'
import { check, nearest } from '../errors.ts'
import { PROBLEMS, type Problem } from '../heads/head.ts'
import { shown } from '../io/json.ts'
import { inTurns, turn } from '../io/turn.ts'
import type { ModelOptions } from '../model.ts'
import { checkOptions, checkValues, type Domain, isRecord, type OptionsOf, SEED } from '../options.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { isOneOf, keysOf, must, pick } from '../tuple.ts'
import { type EncodedRows, encodeSplits } from './encode.ts'
import { taskOf } from './index.ts'
import { adopted, columnsIn, inferTask, type TaskChoice } from './infer.ts'
import { saysNone } from './labelColumn.ts'
import { listReader } from './listCells.ts'
import type { EncodeSpec, TaskValues } from './task.ts'

/** Choices that a data set leaves open; what is not given is inferred and told in `notices`. */
export interface SplitOptions extends OpenOptions {
  readonly task?: string | undefined
  /** How labels are read, where a trained model knows; inferred otherwise. */
  readonly problem?: Problem | undefined
  /** Tasks that the model has heads for; any, where no model is known. */
  readonly able?: readonly string[] | undefined
  readonly columnNames?: ColumnNames | undefined
  /** Label map to keep to (of a trained model, or named by the user); from all splits of the data otherwise. */
  readonly labels?: LabelMap | undefined
  readonly labelOrder?: LabelOrder | undefined
  /** Shares for splits that the data don't bring; 0.8/0.1/0.1 by default. */
  readonly fractions?: Fractions | undefined
  readonly seed?: number | bigint | undefined
  readonly duplicates?: DuplicateRule | undefined
  /** Training rows to take, by the seed; all by default. */
  readonly rows?: number | undefined
}

/** Rows by split with all that was found out about them. */
export interface SplitData {
  readonly splits: Splits
  readonly choice: TaskChoice
  readonly columns: Columns
  /** Undefined where the task has no classes: regression, language models. */
  readonly labels: LabelMap | undefined
  readonly duplicates: DuplicateReport
  readonly splitHash: string
  /** Sentences for the user about what was inferred, converted or split. */
  readonly notices: readonly string[]
}

/** Examples by split, ready for `train`. */
export interface PreparedData extends SplitData {
  /** The head that they ask for: `loadModel(folder, data.head)`. */
  readonly head: HeadChoice
  readonly train: EncodedRows
  readonly validation: EncodedRows
  readonly test: EncodedRows
}

/** Rows of the splits that there are. */
export type GivenSplits = Partial<Splits>

const defaultFractions: Fractions = parseFractions(DATA_OPTIONS.split.found)

/**
 * Reads a file or folder, or takes rows; finds columns, task and labels; makes the splits that are missing.
 * @throws ERR_DATA, ERR_OPTION as the parts do
 */
export async function splitData(source: string | GivenSplits, options: SplitOptions = {}): Promise<SplitData> {
  checkOptions('splitData', options, SPLIT_OPTIONS)
  checkGiven(options)
  checkSource(source)
  const notices: string[] = []
  const notice = (text: string): void => void notices.push(text)
  const read = typeof source === 'string' ? await readSplits(source, options, notices) : source
  check(rowsOf(read).length > 0, 'ERR_DATA', () => 'data: no rows')
  const taken = adopted(read, options.columnNames, options.task, notice)
  await turn()
  const columns = columnsIn(rowsOf(taken.splits), taken.given, options.task)
  const given = withLists(labelledSplits(taken.splits, columns, options.labels, notice), columns)
  await turn()
  const choice = inferTask(rowsOf(given), columns, options)
  await turn()
  notice(`task ${choice.task}: ${choice.reason}`)
  noticeEmpty(rowsOf(given), columns, notice)
  if (columns.text2 === undefined && columns.label !== undefined) noticeUnread(rowsOf(given), columns, notice)
  const task = taskOf(choice)
  const kept = options.labels
  const converted = task.convert?.({ splits: given, columns, labels: kept }, notice) ?? { splits: given, labels: kept }
  await turn()
  const cut = cutSplits(converted.splits, columns, choice, options, notices)
  const { splits: whole, report } = await inTurns(resolveDuplicates(cut, columns, options.duplicates))
  const across = report.trainValidation + report.trainTest + report.validationTest
  if (across > 0) notice(acrossText(across, options.duplicates ?? 'report'))
  const known = kept ?? converted.labels
  const labels = task.labels && (known ?? task.labels(rowsOf(whole), columns, options.labelOrder))
  const like = labels && !known ? likeNames(labels.names) : undefined
  if (like !== undefined) notice(like)
  const splits = limited(whole, rows => task.strata(rows, columns), options, notice)
  return { splits, choice, columns, labels, duplicates: report, splitHash: await inTurns(splitHash(whole)), notices }
}

/** @throws ERR_OPTION for a value that its option does not have */
function checkGiven(options: SplitOptions): void {
  checkValues(DOMAINS, options)
  const { labels, fractions } = options
  check(labels === undefined || (Array.isArray(labels.names) && labels.ids instanceof Map), 'ERR_OPTION', () => {
    return `labels: ${shown(labels)} is no label map; give labelMap(["no", "yes"])`
  })
  if (fractions !== undefined) checkFractions(fractions)
}

const DOMAINS: Readonly<Record<string, Domain>> = {
  ...pick(DATA_OPTIONS, ['format', 'encoding', 'delimiter', 'duplicates', 'rows']),
  labelOrder: { kind: 'choice', choices: ['sorted', 'seen'] },
  problem: { kind: 'choice', choices: PROBLEMS },
}

/** Splits with as many training rows as were asked for. */
function limited(
  splits: Splits,
  strataOf: (rows: List<Row>) => List<string>,
  { rows, seed = SEED }: SplitOptions,
  notice: (text: string) => void,
): Splits {
  const all = splits.train
  if (rows === undefined || rows >= all.length) return splits
  const train = takeRows(all, strataOf(all), rows, seed)
  notice(`${train.length} of ${all.length} training rows taken, stratified by seed ${seed}`)
  return { ...splits, train }
}

/** Tells of rows that have nothing to learn from but their label. */
function noticeEmpty(rows: List<Row>, { text }: Columns, notice: (text: string) => void): void {
  if (text === undefined) return
  const isEmpty = (value: unknown) => typeof value === 'string' && /^(?:nan|n\/a|#n\/a|<na>|null)?$/i.test(value.trim())
  const empty = rows.filter(({ values: { [text]: value } }) => isEmpty(value))
  const first = empty.at(0)
  if (!first) return
  const what = String(first.values[text]).trim() === '' ? 'an empty' : `${shown(first.values[text])} or nothing as`
  notice(`${empty.length} of ${rows.length} rows have ${what} "${text}", the first ${placeOf(first)}; drop them`)
}

/** Rows that are looked at for texts that are left out. */
const LOOKED_AT = 100

/** Tells of columns that hold texts and play no part: a second text of a pair may be among them. */
function noticeUnread(rows: List<Row>, columns: Columns, notice: (text: string) => void): void {
  const { text, tokens, prompt, messages } = columns
  if (text === undefined || tokens !== undefined || prompt !== undefined || messages !== undefined) return
  const some = Array.from({ length: Math.min(rows.length, LOOKED_AT) }, (_, i) => rows.at(i)?.values ?? {})
  const isText = (name: string) => {
    const texts = some.flatMap(({ [name]: value }) => (typeof value === 'string' && value !== '' ? [value] : []))
    return texts.filter(value => value.trim().split(/\s+/).length > 3).length > some.length / 2
  }
  const parts: readonly unknown[] = Object.values(columns)
  const left = columnNames(some.map(values => ({ values, file: '', line: 0 })))
    .filter(name => !parts.includes(name))
    .filter(isText)
  if (left.length === 0) return
  const names = left.map(name => `"${name}"`).join(', ')
  notice(`texts in ${names} are not read, only those in "${text}"; columns.text2 adds one`)
}

const duplicateTexts: Readonly<Record<DuplicateRule, string>> = {
  report: 'left there; duplicates: drop or move would part them',
  drop: 'the copies in the split trained on are dropped',
  move: 'all copies are moved to one split',
}

function acrossText(count: number, rule: DuplicateRule): string {
  return `${count} ${count === 1 ? 'text stands' : 'texts stand'} in more than one split (${duplicateTexts[rule]})`
}

function rowsOf({ train = [], validation = [], test = [] }: GivenSplits): List<Row> {
  return joinedLists([train, validation, test])
}

/**
 * Splits without those that bring no labels where the others do, as test files of competitions: the label is missing,
 * said to be or an empty list in all of their rows, or −1 in all of them and nowhere else.
 */
function labelledSplits(
  splits: GivenSplits,
  { label, tags }: Columns,
  labels: LabelMap | undefined,
  notice: (text: string) => void,
): GivenSplits {
  const column = label ?? tags
  if (column === undefined) return splits
  const isAbsent = ({ values: { [column]: value } }: Row) =>
    value === undefined ||
    value === null ||
    (Array.isArray(value) && value.length === 0) ||
    (typeof value === 'string' && !labels?.ids.has(value) && saysNone(value))
  const isNegative = ({ values }: Row) => String(values[column]) === '-1'
  const has = (rows: List<Row>) => rows.some(row => !isAbsent(row))
  const { train = [] } = splits
  const open = Object.entries(splits).filter(([name, rows]) => {
    if (name === 'train' || rows.length === 0 || !has(train)) return false
    return !has(rows) || (rows.every(isNegative) && !train.some(isNegative))
  })
  for (const [name, rows] of open)
    notice(`the ${name} split has no labels in "${column}" (${rows.length} rows) and is left out; predict reads it`)
  const names = open.map(([name]) => name)
  return Object.fromEntries(Object.entries(splits).filter(([name]) => !names.includes(name)))
}

/** Lists that a table holds as text, as lists. */
function withLists(splits: GivenSplits, columns: Columns): GivenSplits {
  const asLists = listReader(rowsOf(splits), columns)
  return asLists ? mapRows(splits, asLists) : splits
}

/** A task's own options: given, else what the rows trained on settle. */
export function settledOptions({ choice, splits: { train }, columns }: SplitData, given: TaskValues = {}): TaskValues {
  return { ...(train.length > 0 ? taskOf(choice).found?.(train, columns) : {}), ...given }
}

/** @throws ERR_OPTION for what JavaScript may hand over in place of a path, or of rows by split */
function checkSource(source: unknown): void {
  if (typeof source === 'string') return
  check(isRecord(source), 'ERR_OPTION', () => {
    return `data: ${shown(source).slice(0, 80)} is no path and no splits; give { train: toRows(objects) }, say`
  })
  for (const [name, rows] of Object.entries(source)) {
    check(isOneOf(SPLITS, name), 'ERR_OPTION', () => {
      return `data: "${name}" is no split${nearest(name, SPLITS)}; use ${SPLITS.join(', ')}`
    })
    if (rows !== undefined) checkRows(`data: ${name}`, rows)
  }
}

const SPLIT_OPTIONS: OptionsOf<SplitOptions> = {
  ...OPEN_OPTIONS,
  ...{ task: true, problem: true, able: true, columnNames: true, labels: true, labelOrder: true, fractions: true },
  ...{ seed: true, duplicates: true, rows: true },
}

/** {@link splitData} and the encoding of every split; empty splits give no examples. */
export async function prepareData(
  source: string | GivenSplits,
  tokenizer: Tokenizer,
  options: SplitOptions & Pick<EncodeSpec, 'maxLength' | 'taskOptions'>,
): Promise<PreparedData> {
  checkOptions('prepareData', options, { ...SPLIT_OPTIONS, maxLength: true, taskOptions: true })
  check(typeof tokenizer?.encode === 'function', 'ERR_OPTION', () => {
    return 'prepareData: the second argument is no tokenizer; give what loadTokenizer gives'
  })
  check(Number.isInteger(options?.maxLength) && options.maxLength > 0, 'ERR_OPTION', () => {
    return `maxLength: ${options?.maxLength}, expected a whole number from 1; give { maxLength: 128 }, say`
  })
  const { maxLength, taskOptions: given, ...others } = options
  const data = await splitData(source, others)
  const { columns, choice, labels, splits } = data
  const taskOptions = settledOptions(data, given)
  const spec = { ...choice, columns, labels, maxLength, taskOptions }
  const { train, validation, test, truncated: cut, unknown } = await encodeSplits(splits, tokenizer, spec)
  const count = train.examples.length + validation.examples.length + test.examples.length
  const truncated = `${cut} of ${count} examples truncated to ${options.maxLength} tokens`
  const notices = [...data.notices, truncated, ...(unknown === undefined ? [] : [unknown])]
  return { ...data, notices, head: headFor(data), train, validation, test }
}

async function readSplits(path: string, options: OpenOptions, notices: string[]): Promise<GivenSplits> {
  const notice = options.notice ?? ((message: string) => notices.push(message))
  // Tags are converted here, by one rule for all files.
  const given = pick(options, keysOf(OPEN_OPTIONS))
  const source: DataSource = await openDataset(path, { ...given, notice, keepTags: true })
  const splits: Partial<Record<keyof Splits, List<Row>>> = {}
  for (const name of SPLITS) {
    const file = source[name]
    if (file) splits[name] = await storeRows(file.path, file.rows())
  }
  return splits
}

function cutSplits(
  { train = [], validation, test }: GivenSplits,
  columns: Columns,
  choice: TaskChoice,
  { fractions: given, seed = SEED }: SplitOptions,
  notices: string[],
): Splits {
  check(!given || !validation || !test, 'ERR_OPTION', () => {
    return `split: ${must(given, 'given').join('/')} has no effect, since the data bring all three splits; leave it out`
  })
  if (validation || train.length === 0) return { train, validation: validation ?? [], test: test ?? [] }
  const fractions = given ?? defaultFractions
  const whole = fractions[0] + fractions[1]
  const shares: Fractions = test ? [fractions[0] / whole, fractions[1] / whole, 0] : fractions
  const cut = splitRows(train, taskOf(choice).strata(train, columns), shares, seed)
  const sizes = `${cut.train.length}/${cut.validation.length}/${(test ?? cut.test).length}`
  notices.push(`split ${shares.map(share => +share.toFixed(4)).join('/')} by seed ${seed}, stratified: ${sizes} rows`)
  return test ? { ...cut, test } : cut
}

/**
 * Data under labels in the order in which a base has them, where it has the same ones: its classifier then serves as it
 * is, here and wherever else the base is loaded.
 */
export function inOrderOf(data: SplitData, names: readonly string[] | undefined): SplitData {
  const { labels } = data
  const same = labels && names && names.length === labels.names.length && names.every(name => labels.ids.has(name))
  return same ? { ...data, labels: labelMap(names) } : data
}

/** What the head of a model is for. */
export type HeadChoice = Pick<ModelOptions, 'task' | 'problem' | 'labels'>

/** The head that data ask for: its task, problem and the names of its outputs. */
export function headFor({ choice, labels, columns, splits }: SplitData, named?: readonly string[]): HeadChoice {
  const { problem, task } = choice
  const outputs = labels?.names ?? named ?? taskOf(choice).outputs?.(rowsOf(splits), columns)
  return { task, problem, labels: outputs }
}
