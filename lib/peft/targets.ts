// Which modules an adapter attaches to, by PEFT's rules, over module paths alone. Where PEFT lets a mistake pass
// (a name that matches nothing) it is an error here, unless a file that PEFT wrote is being loaded.

import { check, fail, nearest } from '../errors.ts'
import { shown } from '../io/json.ts'
import { lastOf, nth } from '../tuple.ts'
import type { LayerOptions, SaveWholeOptions, TargetOptions } from './fields.ts'
import { type PathPattern, pythonRegex } from './pythonRegex.ts'
import { modulesToSaveFor, type TaskType } from './taskType.ts'

/** A linear layer of a model, by its Hugging Face path. */
export interface LinearInfo {
  readonly path: string
  /** The output layer of the model or its classifier: 'all-linear' leaves it out. */
  readonly isHead: boolean
}

/** The model that is to be matched. */
export interface TargetContext {
  readonly modelType: string
  readonly taskType?: TaskType | undefined
  /** false for a config PEFT wrote: then a name may match nothing as long as one does, as in PEFT. Default true. */
  readonly strict?: boolean
  /** The method's table of what it targets in a family. Default: LoRA's. */
  readonly defaults?: (modelType: string) => readonly string[] | string | undefined
}

/** Options by which modules are chosen. */
export interface MatchOptions extends TargetOptions, LayerOptions, SaveWholeOptions {}

const queryValue = ['q_proj', 'v_proj']

// PEFT 0.21's table for LoRA; distilbert and phi3 are ours, PEFT asks for target_modules there.
const targetsByModel: Readonly<Record<string, readonly string[] | string>> = {
  bart: queryValue,
  bert: ['query', 'value'],
  'blip-2': ['q', 'v', 'q_proj', 'v_proj'],
  bloom: ['query_key_value'],
  btlm: ['c_proj', 'c_attn'],
  chatglm: ['query_key_value'],
  codegen: ['qkv_proj'],
  deberta: ['in_proj'],
  'deberta-v2': ['query_proj', 'value_proj'],
  distilbert: ['q_lin', 'v_lin'],
  electra: ['query', 'value'],
  falcon: ['query_key_value'],
  gemma: queryValue,
  gemma2: queryValue,
  gemma3_text: queryValue,
  gemma4: '.*language_model\\..*\\.(q_proj|v_proj)',
  gpt2: ['c_attn'],
  gpt_bigcode: ['c_attn'],
  gpt_neo: queryValue,
  gpt_neox: ['query_key_value'],
  gptj: queryValue,
  layoutlm: ['query', 'value'],
  llama: queryValue,
  llama4: queryValue,
  mistral: queryValue,
  mixtral: queryValue,
  mpt: ['Wqkv'],
  mt5: ['q', 'v'],
  nemotron_h: ['q_proj', 'k_proj', 'v_proj', 'o_proj'],
  opt: queryValue,
  phi: ['q_proj', 'v_proj', 'fc1', 'fc2'],
  phi3: ['qkv_proj'],
  qwen2: queryValue,
  qwen3: queryValue,
  RefinedWeb: ['query_key_value'],
  RefinedWebModel: ['query_key_value'],
  roberta: ['query', 'value'],
  rwkv: ['key', 'value', 'receptance', 'output'],
  rwkv7: ['r_proj', 'k_proj', 'v_proj', 'o_proj', 'key', 'value'],
  stablelm: queryValue,
  t5: ['q', 'v'],
  'xlm-roberta': ['query', 'value'],
}

/** The `target_modules` PEFT takes for a family when none are given; undefined where there is no default. */
export function defaultTargets(modelType: string): readonly string[] | string | undefined {
  return Object.hasOwn(targetsByModel, modelType) ? targetsByModel[modelType] : undefined
}

/**
 * The modules that names of `modules_to_save` stand for, by PEFT's plain `endsWith`: "classifier" is also
 * DistilBERT's `pre_classifier`. A module inside another one that matches is not named again. Order of `paths`.
 */
export function matchModulesToSave(paths: readonly string[], names: readonly string[]): string[] {
  const matched = paths.filter(path => names.some(name => path.endsWith(name)))
  return matched.filter(path => !matched.some(other => path.startsWith(`${other}.`)))
}

/**
 * The linear layers an adapter attaches to, in the order of `linears`.
 *
 * Errors, all `ERR_OPTION`: no default for the family, names that match nothing (with the near ones), nothing matched
 * at all, layer numbers beside a regular expression.
 */
export function matchTargets<L extends LinearInfo>(
  linears: readonly L[],
  options: MatchOptions,
  context: TargetContext,
): L[] {
  const targets = options.targetModules ?? defaultFor(linears, context)
  checkLayerOptions(options, targets)
  const choice = chooser(linears, targets, options, context)
  const chosen = linears.filter(({ path }) => choice(path) === 'chosen')
  if (context.strict ?? true) checkAllUsed(linears, targets, options, choice)
  check(chosen.length > 0, 'ERR_OPTION', () => {
    return `targetModules: ${shown(targets)} matches no linear module; ${offered(linears)}`
  })
  return chosen
}

/** The value of a pattern for a path: that of the first key that matches it or an end of it. */
export function patternValue(pattern: Readonly<Record<string, number>>, path: string): number | undefined {
  return valueFor(pattern, Object.keys(pattern), path)
}

/** Every key of a pattern must match a targeted module: one that does not is a mistake. `ERR_OPTION`. */
export function checkPattern(option: string, pattern: Readonly<Record<string, number>>, paths: readonly string[]) {
  for (const key of Object.keys(pattern))
    check(
      paths.some(path => matchesKey(key, path)),
      'ERR_OPTION',
      () => `${option}: "${key}" matches no targeted module${nearest(key, ends(paths))}`,
    )
}

/** Which paths a list of names, or a regular expression, stands for, by PEFT's rules for targets. */
export function nameMatcher(names: string | readonly string[], option: string): (path: string) => boolean {
  return nameTest(names, option)
}

/**
 * A rank or alpha pattern that means the same for `paths` after its keys were sorted, as PEFT does on saving. It
 * comes back as it is where sorting changes nothing, else spelled out as one `^path` a module.
 */
export function stablePattern(
  pattern: Readonly<Record<string, number>>,
  paths: readonly string[],
): Record<string, number> {
  const keys = Object.keys(pattern)
  const sorted = [...keys].sort()
  if (paths.every(path => valueFor(pattern, keys, path) === valueFor(pattern, sorted, path))) return { ...pattern }
  const spelled: Record<string, number> = {}
  for (const path of paths) {
    const value = valueFor(pattern, keys, path)
    if (value !== undefined) spelled[`^${path.replaceAll('.', '\\.')}`] = value
  }
  return spelled
}

/** Why a module is taken or left. */
type Outcome = 'chosen' | 'unnamed' | 'excluded' | 'saved' | 'otherLayer'

type Choice = (path: string) => Outcome

function chooser(
  linears: readonly LinearInfo[],
  targets: string | readonly string[],
  options: MatchOptions,
  { taskType }: TargetContext,
): Choice {
  const heads = new Set(linears.filter(linear => linear.isHead).map(linear => linear.path))
  const allLinear = isAllLinear(targets)
  const named = allLinear ? (path: string) => !heads.has(path) : nameTest(targets, 'targetModules')
  const excluded = nameTest(options.excludeModules ?? [], 'excludeModules')
  const saved = modulesToSaveFor(taskType, options.modulesToSave ?? [])
  const inLayers = layerTest(options)
  const listed = typeof targets === 'string' ? [] : targets
  return path => {
    if (!named(path)) return 'unnamed'
    if (excluded(path)) return 'excluded'
    if (isUnder(path, saved)) return 'saved'
    // A path given in full is meant whatever its layer.
    return listed.includes(path) || inLayers(path) ? 'chosen' : 'otherLayer'
  }
}

function nameTest(names: string | readonly string[], option: string): (path: string) => boolean {
  if (typeof names !== 'string') return path => names.some(name => endsAt(name, path))
  if (names === '') return () => false
  const regex = pythonRegex(names, option, 'full')
  return path => regex.test(path)
}

/** A name stands for a module whose path is it, or ends with it after a dot. */
export function endsAt(name: string, path: string): boolean {
  return path === name || path.endsWith(`.${name}`)
}

/** Whether a module, or one it lies in, is trained in full. */
function isUnder(path: string, saved: readonly string[]): boolean {
  const segments = path.split('.')
  return segments.some((_, i) => {
    const prefix = segments.slice(0, i + 1).join('.')
    return saved.some(name => prefix.endsWith(name))
  })
}

function layersOf({ layersToTransform }: MatchOptions): readonly number[] {
  if (layersToTransform === undefined) return []
  return typeof layersToTransform === 'number' ? [layersToTransform] : layersToTransform
}

/** The number in the first numbered segment of a tensor's name or a module's path that another follows. */
export function layerNumber(name: string): number | undefined {
  const number = /\.(\d+)\./.exec(name)?.[1]
  return number === undefined ? undefined : Number(number)
}

function layerTest(options: MatchOptions): (path: string) => boolean {
  const layers = layersOf(options)
  if (layers.length === 0) return () => true
  return path => {
    const layer = layerOf(path, options)
    return layer !== undefined && layers.includes(layer)
  }
}

/** The number in the first numbered segment of a path, or in the one after a segment of `layersPattern`. */
function layerOf(path: string, { layersPattern }: MatchOptions): number | undefined {
  const patterns = typeof layersPattern === 'string' ? [layersPattern] : (layersPattern ?? [])
  const sources = patterns.filter(Boolean).map(pattern => `(?:^|.*?\\.)${pattern}\\.\\d+\\.`)
  if (sources.length === 0) sources.push('.*?\\.[^.]*\\.\\d+\\.')
  for (const source of sources) {
    const length = cached(source, 'layersPattern').length(path)
    // The number is the last segment of the match.
    if (length >= 0)
      return Number(
        path
          .slice(0, length - 1)
          .split('.')
          .at(-1),
      )
  }
  return undefined
}

/** The value of the first key, in this order, that matches a path or an end of it. */
function valueFor(
  pattern: Readonly<Record<string, number>>,
  keys: readonly string[],
  path: string,
): number | undefined {
  const key = keys.find(candidate => matchesKey(candidate, path))
  return key === undefined ? undefined : pattern[key]
}

function matchesKey(key: string, path: string): boolean {
  return cached(`(.*\\.)?(${key})$`, 'rankPattern, alphaPattern').test(path)
}

const regexes = new Map<string, PathPattern>()

function cached(source: string, option: string): PathPattern {
  let regex = regexes.get(source)
  if (!regex) {
    if (regexes.size > 1000) regexes.clear()
    regex = pythonRegex(source, option, 'start')
    regexes.set(source, regex)
  }
  return regex
}

function defaultFor(linears: readonly LinearInfo[], context: TargetContext): string | readonly string[] {
  const { modelType, defaults = defaultTargets } = context
  const targets = defaults(modelType)
  return targets ?? fail('ERR_OPTION', `targetModules: there is no default for "${modelType}"; ${offered(linears)}`)
}

function checkLayerOptions(options: MatchOptions, targets: string | readonly string[]): void {
  const given = (['layersToTransform', 'layersPattern'] as const).find(key => options[key] !== undefined)
  check(given === undefined || typeof targets !== 'string' || isAllLinear(targets), 'ERR_OPTION', () => {
    return `${given}: cannot go with the regular expression ${shown(targets)}; write the layers into it or give a list`
  })
  const patterns = options.layersPattern ?? []
  check(patterns.length === 0 || options.layersToTransform !== undefined, 'ERR_OPTION', () => {
    return `layersPattern: ${shown(patterns)} says nothing without layersToTransform; give both or neither`
  })
}

/** Every name, layer and pattern that was given must have an effect: one that has none is a mistake. */
function checkAllUsed(
  linears: readonly LinearInfo[],
  targets: string | readonly string[],
  options: MatchOptions,
  choice: Choice,
): void {
  const paths = linears.map(linear => linear.path)
  const faults = typeof targets === 'string' ? [] : targets.flatMap(entry => targetFault(entry, paths, choice) ?? [])
  const { excludeModules = [] } = options
  for (const entry of typeof excludeModules === 'string' ? [] : excludeModules)
    if (!paths.some(path => endsAt(entry, path))) faults.push(unmatched('excludeModules', entry, paths))
  for (const layer of layersOf(options))
    if (!paths.some(path => layerOf(path, options) === layer))
      faults.push(`layersToTransform: there is no layer ${layer}`)
  check(faults.length === 0, 'ERR_OPTION', () => `${faults.join('; ')}; ${offered(linears)}`)
}

function targetFault(entry: string, paths: readonly string[], choice: Choice): string | undefined {
  const reached = paths.filter(path => endsAt(entry, path))
  if (reached.length === 0) return unmatched('targetModules', entry, paths)
  if (reached.some(path => choice(path) === 'chosen')) return undefined
  return `targetModules: "${entry}" matches only modules ${reasons[choice(nth(reached, 0))]}`
}

function unmatched(option: string, entry: string, paths: readonly string[]): string {
  return `${option}: "${entry}" matches no linear module${nearest(entry, ends(paths))}`
}

const reasons: Readonly<Record<Outcome, string>> = {
  chosen: '',
  unnamed: '',
  excluded: 'that excludeModules leaves out',
  saved: 'that are trained in full (modulesToSave and the head of the task)',
  otherLayer: 'outside layersToTransform',
}

/** The last one and two segments of every path: what a target is usually called. */
function ends(paths: readonly string[]): Set<string> {
  return new Set(paths.flatMap(path => [lastOf(path.split('.')), path.split('.').slice(-2).join('.')]))
}

function offered(linears: readonly LinearInfo[]): string {
  const names = [...new Set(linears.map(({ path }) => lastOf(path.split('.'))))]
  const most = 16
  return `name some of ${names.slice(0, most).join(', ')}${names.length > most ? ' …' : ''}, or "all-linear"`
}

function isAllLinear(targets: string | readonly string[]): boolean {
  return typeof targets === 'string' && targets.toLowerCase() === 'all-linear'
}
