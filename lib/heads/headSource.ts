// What a model is loaded for: its options, and the rows of a classifier that a checkpoint has, under its labels.

import { check } from '../errors.ts'
import { configLabels, type ModelConfig, problemType } from '../io/config.ts'
import { shown } from '../io/json.ts'
import type { Family } from '../models/family.ts'
import { labelRows, withRows } from '../models/labelRows.ts'
import type { TensorSource } from '../models/weights.ts'
import { COMPUTE } from '../ops/matmul.ts'
import { checkIdle, checkKeys, checkValues, type Domain, isRecord } from '../options.ts'
import { isTexts, nth } from '../tuple.ts'
import { type Head, PROBLEMS, type Problem } from './head.ts'
import { headOf, headTasks, type TaskName } from './index.ts'

interface Sourced {
  readonly source?: TensorSource | undefined
}

/** Names that transformers leaves out of config.json. */
const TWO_LABELS = ['LABEL_0', 'LABEL_1']

/** What a model is loaded for, as far as its labels go. */
interface HeadOptions {
  readonly task: TaskName
  readonly labels?: readonly string[] | undefined
  /** A head of one's own. */
  readonly head?: unknown
  readonly headRows?: 'byName' | 'inOrder' | 'anew' | undefined
}

/** What is checked before a model is read. */
interface ModelSettings {
  readonly task: string
  readonly device?: string | undefined
  readonly planFor?: string | undefined
  readonly headRows?: string | undefined
  readonly head?: unknown
}

const DOMAINS: Readonly<Record<string, Domain>> = {
  problem: { kind: 'choice', choices: PROBLEMS },
  headRows: { kind: 'choice', choices: ['byName', 'inOrder', 'anew'] },
  compute: { kind: 'choice', choices: COMPUTE },
  seed: { kind: 'integer', min: 0 },
}

const OPTIONS = 'task labels problem head headRows device planFor storage compute seed'.split(' ')

/** What JavaScript may hand over as options of a model. @throws ERR_OPTION for an unknown task or option, or none */
export function checkModelOptions(what: string, options: ModelSettings): void {
  checkKeys(what, options ?? {}, OPTIONS)
  check(isRecord(options) && options.task !== undefined, 'ERR_OPTION', () => {
    return `${what}: no task; give { task: ${headTasks.map(task => `'${task}'`).join(' | ')} }`
  })
  headOf(options.task)
  const { device, planFor } = options
  if (device !== 'meta') checkIdle('planFor', planFor, () => `on device ${device ?? 'cpu'}, which plans nothing`)
  const { head } = options
  check(head === undefined || typeof head === 'function', 'ERR_OPTION', () => {
    return `head: ${shown(head)} is no function that makes one; see examples/custom-head.ts`
  })
  checkValues(DOMAINS, options)
}

/** The head of a task. @throws ERR_OPTION for a problem that it does not solve */
export function checkedHead(
  head: Head,
  { task, problem }: { readonly task: string; readonly problem?: unknown },
): Head {
  check(problem === undefined || problem === head.problem, 'ERR_OPTION', () => {
    return `problem: ${shown(problem)} is none of a head for ${task}, whose answers are ${head.problem}; leave it out`
  })
  return head
}

/** Whether a source has modules of the task's head. */
export function holdsHead(family: Family, { source }: Sourced, task: TaskName): boolean {
  const modules = family.heads[headOf(task).sits]?.modules ?? []
  return [...(source?.names() ?? [])].some(name => modules.some(module => name.startsWith(`${module}.`)))
}

/** @throws ERR_OPTION for what JavaScript may hand over in place of names of classes, or of none */
export function checkNames(labels: unknown): void {
  check(labels === undefined || isTexts(labels), 'ERR_OPTION', () => {
    return `labels: ${shown(labels)} is no list of names; give ['no', 'yes'], say`
  })
}

/** What the classes are called. Throws ERR_OPTION. */
export function headLabels(config: ModelConfig, options: HeadOptions, isTrained: boolean): readonly string[] {
  if (!headOf(options.task).isLabelled) {
    if (options.labels?.length !== 0)
      checkIdle('labels', options.labels, () => `on ${options.task}, which has no classes`)
    return []
  }
  checkNames(options.labels)
  const labels = options.labels ?? configLabels(config)?.id2label ?? (isTrained ? TWO_LABELS : undefined)
  check(
    labels && labels.length > 0,
    'ERR_OPTION',
    () => 'labels: none given, and config.json has no id2label; pass labels',
  )
  check(new Set(labels).size === labels.length, 'ERR_OPTION', () => `labels: [${labels.join(', ')}] repeats a label`)
  return labels
}

/** The checkpoint with the rows of its classifier that serve the labels of the model. */
export function headSource(
  { family, config, labels }: { family: Family; config: ModelConfig; labels: readonly string[] },
  { source }: Sourced,
  { task, head, labels: given, headRows = 'byName' }: HeadOptions,
): { source: TensorSource | undefined; notices: readonly string[] } {
  const spec = family.heads[headOf(task).sits]
  const output = spec?.output ?? spec?.modules.at(-1)
  const has = source && output !== undefined && !head && [...source.names()].includes(`${output}.weight`)
  if (!has) return { source, notices: [] }
  if (headRows === 'anew')
    return {
      source: withRows(
        source,
        output,
        labels.map(() => -1),
      ),
      notices: [],
    }
  if (given === undefined) return { source, notices: [] }
  const count = nth(source.info(`${output}.weight`).shape, 0)
  const stored = configLabels(config)?.id2label ?? Array.from({ length: count }, (_, i) => `LABEL_${i}`)
  // A config that names another number of labels than there are rows is told by the shapes.
  if (stored.length !== count || headRows === 'inOrder') return { source, notices: [] }
  const { rows, notice } = labelRows(labels, stored)
  const isSame = rows.length === count && rows.every((row, i) => row === i)
  return { source: isSame ? source : withRows(source, output, rows), notices: notice === undefined ? [] : [notice] }
}

/** As transformers: a single output without a problem_type is a number. */
export function problemOf(config: ModelConfig, outputs: number): Problem {
  const type = problemType(config) ?? (outputs === 1 ? 'regression' : undefined)
  return type === 'regression' ? 'regression' : type === 'multi_label_classification' ? 'multi' : 'single'
}
