import { join } from 'node:path'
import { check, fail, nearest } from '../errors.ts'
import { isTexts, must } from '../tuple.ts'
import { ggufConfig } from './gguf/config.ts'
import { isGguf, openGguf } from './gguf/file.ts'
import { isJsonObject, type Json, type JsonObject, readJson, shown } from './json.ts'

/** A model's `config.json` as it stands in the file; `int` and its like read one checked value each. */
export interface ModelConfig {
  /** The file, for messages. */
  readonly path: string
  /** Family name, one of the known ones. */
  readonly modelType: string
  readonly values: Readonly<JsonObject>
}

/**
 * Reads `config.json` of a model folder, or what the metadata of a GGUF file say of it. No file, no JSON object, a
 * `model_type` that is missing or not among `knownTypes`: `ERR_CONFIG`.
 */
export function readModelConfig(dir: string, knownTypes: readonly string[]): ModelConfig {
  const path = isGguf(dir) ? dir : join(dir, 'config.json')
  const values = isGguf(dir) ? readGgufConfig(dir) : readJson(path)
  check(isJsonObject(values), 'ERR_CONFIG', () => `${path}: holds ${shown(values)}, not an object; name a model folder`)
  const modelType = values.model_type
  check(typeof modelType === 'string', 'ERR_CONFIG', () => {
    return `${path}: model_type is ${shown(modelType)}; it must be one of ${knownTypes.join(', ')}`
  })
  check(knownTypes.includes(modelType), 'ERR_CONFIG', () => {
    return `${path}: model_type is "${modelType}"${nearest(modelType, knownTypes)}; known are ${knownTypes.join(', ')}`
  })
  const labels = values.num_labels
  check(typeof labels !== 'number' || labels <= MOST_LABELS, 'ERR_CONFIG', () => {
    return `${path}: num_labels is ${labels}, at most ${MOST_LABELS} are read; is it the number of classes?`
  })
  return { path, modelType, values }
}

function readGgufConfig(path: string): JsonObject {
  const file = openGguf(path)
  try {
    return ggufConfig(file)
  } finally {
    file.close()
  }
}

/** Of a classifier: a claim beyond it is none. */
const MOST_LABELS = 1 << 20

/** A whole number. Absent or null: the fallback; without one, and for any other value, `ERR_CONFIG`. */
export function int(config: ModelConfig, key: string, fallback?: number): number {
  return read(config, key, fallback, 'a whole number', isNumber, Number.isSafeInteger)
}

/** A size or count: a whole number from 1 to 2^31 − 1, else as `int`. */
export function count(config: ModelConfig, key: string, fallback?: number): number {
  return read(config, key, fallback, 'a whole number from 1 to 2147483647', isNumber, value => {
    return Number.isSafeInteger(value) && value >= 1 && value < 2 ** 31
  })
}

/** A finite number, else as `int`. */
export function float(config: ModelConfig, key: string, fallback?: number): number {
  return read(config, key, fallback, 'a number', isNumber, Number.isFinite)
}

/** A probability of dropping: a number from 0 up to, not including, 1, else as `int`. */
export function probability(config: ModelConfig, key: string, fallback?: number): number {
  return read(config, key, fallback, 'a number from 0 up to 1', isNumber, value => value >= 0 && value < 1)
}

/** True or false, else as `int`. */
export function bool(config: ModelConfig, key: string, fallback?: boolean): boolean {
  return read(config, key, fallback, 'true or false', value => typeof value === 'boolean')
}

/** A text, with `known` one of these, else as `int`. */
export function string<T extends string = string>(
  config: ModelConfig,
  key: string,
  fallback?: T,
  known?: readonly T[],
): T {
  const text = read<string>(config, key, fallback, 'a string', value => typeof value === 'string')
  const isKnown = (name: string): name is T => !known || known.some(each => each === name)
  check(isKnown(text), 'ERR_CONFIG', () => {
    return `${config.path}: ${key} is "${text}"${nearest(text, must(known, 'known'))}; known are ${must(known, 'known').join(', ')}`
  })
  return text
}

const isNumber = (value: Json): value is number => typeof value === 'number'

/** Element types a config may name. */
export type ConfigDtype = 'float64' | 'float32' | 'float16' | 'bfloat16'
const dtypes: readonly ConfigDtype[] = ['float64', 'float32', 'float16', 'bfloat16']

/** The dtype the model was saved in: `dtype`, before transformers 4.57 `torch_dtype`; undefined where none is named. */
export function savedDtype(config: ModelConfig): ConfigDtype | undefined {
  const { dtype, torch_dtype: older } = config.values
  const [key, value] = dtype === undefined || dtype === null ? ['torch_dtype', older] : ['dtype', dtype]
  if (value === undefined || value === null || value === 'auto') return undefined
  const name = typeof value === 'string' ? value.replace(/^torch\./, '') : value
  const found = dtypes.find(known => known === name)
  return found ?? fail('ERR_CONFIG', `${config.path}: ${key} is ${shown(value)}, not one of ${dtypes.join(', ')}`)
}

/** Class names, `architectures`; empty where the file has none. */
export function architectures(config: ModelConfig): string[] {
  const value = config.values.architectures
  if (value === undefined || value === null) return []
  return isTexts(value)
    ? value
    : fail('ERR_CONFIG', `${config.path}: architectures is ${shown(value)}, not a list of names`)
}

/** What a sequence classifier was trained for. */
type ProblemType = 'regression' | 'single_label_classification' | 'multi_label_classification'
const problemTypes: readonly ProblemType[] = ['regression', 'single_label_classification', 'multi_label_classification']

/** `problem_type`; undefined where the file leaves it open. */
export function problemType(config: ModelConfig): ProblemType | undefined {
  const value = config.values.problem_type
  return value === undefined || value === null ? undefined : string(config, 'problem_type', undefined, problemTypes)
}

/** Class names by id, and the inverse. */
interface ConfigLabels {
  readonly id2label: readonly string[]
  readonly label2id: ReadonlyMap<string, number>
}

/**
 * The label map of a config: `id2label`, else `label2id`, else `num_labels` names LABEL_0 …, else undefined.
 * Ids with gaps, a label with two ids, `id2label` and `label2id` that disagree: `ERR_CONFIG`.
 */
export function configLabels(config: ModelConfig): ConfigLabels | undefined {
  const { id2label, label2id, num_labels: counted } = config.values
  const forward = id2label ?? undefined
  const backward = label2id ?? undefined
  if (forward === undefined && backward === undefined) {
    if (counted === undefined || counted === null) return undefined
    return labelMap(
      config,
      Array.from({ length: Math.min(count(config, 'num_labels'), MOST_LABELS) }, (_, i) => [i, `LABEL_${i}`]),
    )
  }
  const entries = forward === undefined ? inverted(config, must(backward, 'backward')) : listed(config, forward)
  const map = labelMap(config, entries)
  if (forward !== undefined && backward !== undefined) checkAgreement(config, map, backward)
  return map
}

function listed({ path }: ModelConfig, value: Json): [number, string][] {
  check(isJsonObject(value), 'ERR_CONFIG', () => `${path}: id2label is ${shown(value)}, not an object of names by id`)
  return Object.entries(value).map(([id, label]) => {
    check(/^(0|[1-9]\d{0,8})$/.test(id), 'ERR_CONFIG', () => `${path}: id2label has the id "${id}", not a whole number`)
    // Names of numbers are written as numbers here and there.
    const isName = typeof label === 'string' || typeof label === 'number' || typeof label === 'boolean'
    check(isName, 'ERR_CONFIG', () => `${path}: id2label ${id} is ${shown(label)}, not a name`)
    return [Number(id), String(label)]
  })
}

function inverted({ path }: ModelConfig, value: Json): [number, string][] {
  check(isJsonObject(value), 'ERR_CONFIG', () => `${path}: label2id is ${shown(value)}, not an object of ids by name`)
  return Object.entries(value).map(([label, id]) => {
    check(
      typeof id === 'number' && Number.isSafeInteger(id),
      'ERR_CONFIG',
      () => `${path}: label2id "${label}" is ${shown(id)}, not a whole number`,
    )
    return [id, label]
  })
}

function labelMap({ path }: ModelConfig, entries: [number, string][]): ConfigLabels {
  const id2label: string[] = []
  const label2id = new Map<string, number>()
  entries.sort(([a], [b]) => a - b)
  for (const [i, [id, label]] of entries.entries()) {
    check(id === i, 'ERR_CONFIG', () => `${path}: labels have ids with gaps: ${id} stands where ${i} belongs`)
    check(
      !label2id.has(label),
      'ERR_CONFIG',
      () => `${path}: label "${label}" has the ids ${label2id.get(label)} and ${id}`,
    )
    id2label.push(label)
    label2id.set(label, id)
  }
  check(id2label.length > 0, 'ERR_CONFIG', () => `${path}: the label map is empty; leave it out or name the classes`)
  return { id2label, label2id }
}

function checkAgreement(config: ModelConfig, { id2label, label2id }: ConfigLabels, backward: Json): void {
  const entries = inverted(config, backward)
  // What transformers has where only id2label was set: the default names, of which it takes no notice.
  if (entries.every(([id, label]) => label === `LABEL_${id}`)) return
  for (const [id, label] of entries)
    check(label2id.get(label) === id, 'ERR_CONFIG', () => {
      const other = label2id.get(label) ?? 'absent'
      return `${config.path}: label "${label}" is ${id} in label2id and ${other} in id2label; make the two agree`
    })
  check(entries.length === id2label.length, 'ERR_CONFIG', () => {
    return `${config.path}: id2label names ${id2label.length} labels, label2id ${entries.length}; make the two agree`
  })
}

function read<T extends Json>(
  { path, values }: ModelConfig,
  key: string,
  fallback: T | undefined,
  what: string,
  isKind: (value: Json) => value is T,
  accepts: (value: T) => boolean = () => true,
): T {
  const value = Object.hasOwn(values, key) ? values[key]! : null
  if (value === null) return fallback ?? fail('ERR_CONFIG', `${path}: ${key} is missing; it must be ${what}`)
  check(isKind(value) && accepts(value), 'ERR_CONFIG', () => `${path}: ${key} is ${shown(value)}, not ${what}`)
  return value
}
