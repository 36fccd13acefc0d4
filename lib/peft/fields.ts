// The options of a method as a table: names here and in PEFT's file, kinds, defaults, ranges, help. Checks, the file,
// the command line and docs/methods.md all follow from it.

import { check } from '../errors.ts'
import { isObject, isPyJson, PyFloat, type PyJson, pyFloat, shown } from '../io/json.ts'
import { isRecord, nearestOption, type OptionRow, type Search } from '../options.ts'
import { isOneOf, isTexts, must } from '../tuple.ts'
import { modulesToSaveFor, type TaskType } from './taskType.ts'

/** What an adapter's file says beside the options. */
export interface AdapterContext {
  readonly modelType: string
  /** Paths of the modules that carry the adapter. */
  readonly targets: readonly string[]
  readonly taskType?: TaskType | undefined
  readonly baseModelNameOrPath?: string | undefined
  readonly revision?: string | undefined
  /** Whether base weights lie [in, out], as GPT-2's do. */
  readonly fanInFanOut?: boolean
  /** Class and Python module of the base model; PEFT notes them where there is no task. */
  readonly autoMapping?: { readonly baseModelClass: string; readonly parentLibrary: string } | undefined
}

/**
 * What a value is. The kinds are those of the command line's options of the same names, so a row of --help is
 * `{ name, kind, default, help, min, choices, found }` of a field as it stands.
 */
export type FieldKind =
  | 'integer'
  | 'number'
  | 'boolean'
  | 'choice'
  /** A list of names. */
  | 'names'
  /** A list of names, or one text: a regular expression, or a word such as all-linear. */
  | 'pattern'
  /** One whole number from 0, or a list of them. */
  | 'integers'
  /** Numbers by name. */
  | 'numbers'
  /** Lists of booleans by name: never given by hand. */
  | 'masks'

/** One option of a method. */
export interface Field<N extends string = string> {
  readonly name: N
  readonly kind: FieldKind
  readonly help: string
  /** Undefined: found out on attaching, as `found` says. */
  readonly default?: unknown
  readonly found?: string
  /** Key in adapter_config.json; none for what only training needs. */
  readonly peft?: string
  /** Smallest value; of each, for `numbers`. */
  readonly min?: number
  /** The value is below this. */
  readonly below?: number
  /** `integers` may also be lists of them by name: from code and in files, not as a flag. */
  readonly isByName?: boolean
  /** Numbers must be whole, for `numbers`. */
  readonly whole?: boolean
  readonly choices?: readonly (string | boolean)[]
  /** Where better values than the default may lie. */
  readonly search?: Search
  /** Training or a file sets it: no option of the command line. */
  readonly isFound?: boolean
  /** PEFT holds it as a float: 0 is written 0.0. */
  readonly isFloat?: boolean
  /** The value of a file's; an error where it stands for something that is not built. */
  readonly decode?: (path: string, value: PyJson) => unknown
  /** What is written to the file. Default: the value, null for undefined. */
  readonly encode?: (value: unknown, context: AdapterContext) => PyJson
}

/** A field that is given by hand, as a row of options. */
export type OptionField = Field & OptionRow

/** Whether a field is given by hand: what training or a file sets is no row of options. */
export function isOptionField(field: Field): field is OptionField {
  return !field.isFound
}

/** Options checked, with every default filled in. */
export type Resolved = Readonly<Record<string, unknown>>

/** Checks options and fills in defaults. Unknown key, wrong kind, value out of range: `ERR_OPTION`. */
export function resolveFields(method: string, fields: readonly Field[], options: object): Resolved {
  const names = fields.map(({ name }) => name)
  for (const name of Object.keys(options))
    check(names.includes(name), 'ERR_OPTION', () => {
      return `${name}: is no option of ${method}${nearestOption(name, names)}; known are ${names.join(', ')}`
    })
  const given = Object.entries(options).filter(([, value]) => value !== undefined)
  const resolved: Record<string, unknown> = { ...fieldDefaults(fields), ...Object.fromEntries(given) }
  for (const field of fields) {
    const value = resolved[field.name]
    check(value === undefined || accepts(field, value), 'ERR_OPTION', () => {
      return `${field.name}: ${shown(value)} is not ${whatOf(field)}`
    })
  }
  return resolved
}

export function fieldDefaults(fields: readonly Field[]): Resolved {
  return Object.fromEntries(fields.map(field => [field.name, field.default]))
}

/** The value of a field in a config file, checked; undefined where the file leaves it out. `ERR_CONFIG` if wrong. */
export function decodeField(field: Field, path: string, value: PyJson | undefined): unknown {
  if (value === undefined || value === null) return undefined
  const keepsFloats = field.kind === 'integer' || field.whole === true
  const decoded = field.decode ? field.decode(path, value) : plain(value, keepsFloats)
  check(accepts(field, decoded), 'ERR_CONFIG', () => `${path}: ${field.peft} is ${shown(value)}, not ${whatOf(field)}`)
  return decoded
}

export function encodeField(field: Field, value: unknown, context: AdapterContext): PyJson {
  if (field.encode) return field.encode(value, context)
  if (field.isFloat && typeof value === 'number') return pyFloat(value)
  const written = value ?? null
  check(isPyJson(written), 'ERR_OPTION', () => `${field.name}: cannot be written to ${field.peft} of a file`)
  return written
}

/** What a value must be, in words. */
function whatOf({ kind, min, below, whole, choices }: Field): string {
  const range = `${min === undefined ? '' : ` from ${min}`}${below === undefined ? '' : ` up to ${below}`}`
  switch (kind) {
    case 'integer':
      return `a whole number from ${min ?? 0}`
    case 'number':
      return range ? `a number${range}` : 'a finite number'
    case 'boolean':
      return 'true or false'
    case 'choice':
      return `one of ${must(choices, 'choices')
        .map(choice => String(choice))
        .join(', ')}`
    case 'names':
      return 'a list of names'
    case 'pattern':
      return 'a list of names or a regular expression'
    case 'integers':
      return 'a layer number or a list of them'
    case 'masks':
      return 'an object of lists of true and false'
    case 'numbers':
      return `an object of ${whole ? 'whole numbers' : 'numbers'}${range}`
  }
}

function accepts(
  { kind, min = Number.NEGATIVE_INFINITY, below = Number.POSITIVE_INFINITY, whole, choices, isByName }: Field,
  value: unknown,
) {
  const isIn = (number: unknown) => Number.isFinite(number) && Number(number) >= min && Number(number) < below
  switch (kind) {
    case 'integer':
      return Number.isSafeInteger(value) && Number(value) >= Math.max(min, 0)
    case 'number':
      return isIn(value)
    case 'boolean':
      return typeof value === 'boolean'
    case 'choice':
      return isOneOf(must(choices, 'choices'), value)
    case 'names':
      return isNames(value)
    case 'pattern':
      return typeof value === 'string' || isNames(value)
    case 'integers':
      return isByName && isRecord(value) ? Object.values(value).every(isIds) : isIds([value].flat())
    case 'masks': {
      const isMask = (item: unknown) => Array.isArray(item) && item.every(each => typeof each === 'boolean')
      return isRecord(value) && Object.values(value).every(isMask)
    }
    case 'numbers':
      return isRecord(value) && Object.values(value).every(n => isIn(n) && (!whole || Number.isInteger(n)))
  }
}

function isIds(value: unknown): boolean {
  return Array.isArray(value) && value.every(item => Number.isSafeInteger(item) && item >= 0)
}

function isNames(value: unknown): boolean {
  return Array.isArray(value) && value.every(name => typeof name === 'string' && name !== '')
}

/** The JavaScript value of a JSON one; floats stay marked where only integers will do. */
export function plain(value: PyJson, keepFloats = false): unknown {
  if (value instanceof PyFloat) return keepFloats ? value : value.value
  if (typeof value === 'bigint') return Number(value)
  if (Array.isArray(value)) return value.map((item: PyJson) => plain(item, keepFloats))
  if (!isObject(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item, keepFloats)]))
}

/** A text of a file; undefined where it has none. @throws ERR_CONFIG for a value of another kind */
export function textIn(path: string, values: Readonly<Record<string, unknown>>, key: string): string | undefined {
  const value = values[key] ?? undefined
  const isText = value === undefined || typeof value === 'string'
  check(isText, 'ERR_CONFIG', () => `${path}: ${key} is ${shown(value)}, not a text`)
  return value
}

/** Which modules: the fields of every method that targets linear layers. `defaults`: the family's, by model type. */
export function targetFields(
  defaults: (modelType: string) => readonly string[] | string | undefined,
  found = "the family's (query, value for BERT)",
): readonly Field<TargetName>[] {
  return [
    {
      name: 'targetModules',
      peft: 'target_modules',
      kind: 'pattern',
      help: 'Names or path ends, all-linear, or one regular expression',
      found,
      encode: (value, context) => encodeTargets(value, context, defaults),
    },
    {
      name: 'excludeModules',
      peft: 'exclude_modules',
      kind: 'pattern',
      help: 'Modules to leave out, as targetModules',
    },
  ]
}

/** Which layers of them. */
export const LAYER_FIELDS: readonly Field<LayerName>[] = [
  {
    name: 'layersToTransform',
    peft: 'layers_to_transform',
    kind: 'integers',
    help: 'Only these layers, counted from 0',
    found: 'all',
  },
  { name: 'layersPattern', peft: 'layers_pattern', kind: 'pattern', help: 'Path segment before the layer number' },
]

/** Dropout before an update; `peft` is its key there. */
export const dropoutField = (peft: string, help: string): Field<'dropout'> => {
  const search = { from: 0, to: 0.3 }
  return { name: 'dropout', peft, kind: 'number', default: 0, min: 0, below: 1, isFloat: true, help, search }
}

/** What trains whole beside the adapter. */
export const SAVE_FIELD: Field<'modulesToSave'> = {
  name: 'modulesToSave',
  peft: 'modules_to_save',
  kind: 'names',
  help: 'Modules trained whole and saved with the adapter, the head aside',
  found: 'those the checkpoint lacks',
  encode: (value, { taskType }) => orNull(modulesToSaveFor(taskType, isTexts(value) ? value : [])),
}

/** Which linear layers a method goes to. */
export interface TargetOptions {
  /** Names or path ends; or one Python regular expression for whole paths; or 'all-linear'. Default: the family's. */
  targetModules?: string | readonly string[] | undefined
  /** As `targetModules`; wins over it. */
  excludeModules?: string | readonly string[] | undefined
}

/** Which layers of the stack a method goes to. */
export interface LayerOptions {
  /** Only modules of these layers, counted from 0; not with a regular expression. */
  layersToTransform?: number | readonly number[] | undefined
  /** The path segment before the layer number, where it is not the first numbered one. */
  layersPattern?: string | readonly string[] | undefined
}

/** What trains whole beside a method. */
export interface SaveWholeOptions {
  /**
   * Modules trained in full and saved beside the adapter; the head of a task is added by itself. Default: those whose
   * weights the checkpoint lacked.
   */
  modulesToSave?: readonly string[] | undefined
}

type TargetName = keyof TargetOptions & string
type LayerName = keyof LayerOptions & string

function encodeTargets(
  value: unknown,
  { modelType, targets }: AdapterContext,
  defaults: (modelType: string) => readonly string[] | string | undefined,
): PyJson {
  // PEFT never writes the short-hand, and a default of ours it may not know: the file names the modules.
  if (typeof value === 'string') return value.toLowerCase() === 'all-linear' ? targets : value
  return isTexts(value) ? value : (defaults(modelType) ?? targets)
}

function orNull(names: readonly string[]): PyJson {
  return names.length === 0 ? null : names
}
