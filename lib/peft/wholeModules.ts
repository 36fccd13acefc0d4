// Which parameters an adapter trains whole beside its own: heads, what the checkpoint lacked, biases.

import { check, nearest } from '../errors.ts'
import type { Linear } from '../nn/linear.ts'
import type { Parameter } from '../nn/module.ts'
import { lastOf } from '../tuple.ts'
import type { Field } from './fields.ts'
import { isTable, type Layer, layersOf } from './layers.ts'
import type { Host, PlaceContext } from './method.ts'
import { type MatchOptions, matchModulesToSave, matchTargets, type TargetContext } from './targets.ts'
import { modulesToSaveFor, type TaskType } from './taskType.ts'

/** Which biases are trained: none, all of the model, or those of the targeted modules. */
export type Bias = (typeof BIASES)[number]
const BIASES = ['none', 'all', 'lora_only'] as const

/** Which biases train beside the adapter. */
export const BIAS_FIELD: Field<'bias'> = {
  name: 'bias',
  peft: 'bias',
  kind: 'choice',
  default: 'none',
  choices: BIASES,
  help: 'Biases that are trained',
}

/** Every module path of a model that has parameters in it or below it, outermost first. */
function modulePaths(host: Host): string[] {
  const paths = new Set<string>()
  for (const name of host.parameters.keys())
    for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) paths.add(name.slice(0, dot))
  return [...paths]
}

/** Modules of newly initialised tensors that the task's heads do not cover, or the tensor itself where it has none. */
export function newModules(host: Host, taskType: TaskType | undefined): string[] {
  const heads = modulesToSaveFor(taskType, [])
  const isHead = (name: string) => prefixes(name).some(prefix => heads.some(head => prefix.endsWith(head)))
  const left = host.newTensors.filter(name => !isHead(name))
  return [...new Set(left.map(name => moduleOf(name)))]
}

/** PEFT trains a copy and leaves the other use as it was: neither training both nor that is what a user expects. */
function checkUnshared({ shared }: Host, parameter: Parameter): void {
  check(!shared.has(parameter), 'ERR_UNSUPPORTED', () => {
    return `modulesToSave: ${parameter.name} is also the decoder of this model (tie_word_embeddings); leave it out or untie`
  })
}

/** The module a tensor belongs to. */
export function moduleOf(name: string): string {
  const dot = name.lastIndexOf('.')
  return dot < 0 ? name : name.slice(0, dot)
}

function prefixes(name: string): string[] {
  const segments = name.split('.')
  return segments.map((_, i) => segments.slice(0, i + 1).join('.'))
}

/** Those of `names` that stand for a module of the model; PEFT's files also name heads that it lacks. */
export function namesThere(host: Host, names: readonly string[]): string[] {
  const paths = modulePaths(host)
  return names.filter(name => matchModulesToSave(paths, [name]).length > 0 || host.parameters.has(name))
}

/**
 * Parameters of the modules that names of `modules_to_save` stand for, in the model's order. With `strict`, a name
 * of `asked` that stands for nothing is an `ERR_OPTION`; the heads that a task adds may be absent, as in PEFT.
 */
function savedWhole(
  host: Host,
  asked: readonly string[],
  taskType: TaskType | undefined,
  strict: boolean,
): Parameter[] {
  const paths = modulePaths(host)
  const there = new Set(namesThere(host, asked))
  for (const name of strict ? asked : []) {
    check(there.has(name), 'ERR_OPTION', () => {
      const ends = paths.flatMap(path => [path, lastOf(path.split('.'))])
      return `modulesToSave: "${name}" matches no module${nearest(name, ends)}; name one by its path or the end of it`
    })
  }
  const names = modulesToSaveFor(taskType, asked)
  const modules = new Set(matchModulesToSave(paths, names))
  const found = [...host.parameters.values()].filter(({ name }) => {
    return names.includes(name) || prefixes(name).some(prefix => modules.has(prefix))
  })
  for (const parameter of found) checkUnshared(host, parameter)
  return found
}

/** Biases to be trained, in the model's order: all of it, or those of the targeted modules. */
function biasParameters(host: Host, bias: Bias, targeted: ReadonlySet<string>): Parameter[] {
  if (bias === 'none') return []
  return [...host.parameters.values()].filter(({ name }) => {
    return /(^|\.)bias$/.test(name) && (bias === 'all' || targeted.has(moduleOf(name)))
  })
}

/** Modules of the head, or new in this model, that a file holds although its config does not name them. */
export function headsIn(
  host: Host,
  file: { has(key: string): boolean },
  named: readonly string[],
  hasAllBiases: boolean,
  taskType: TaskType | undefined,
): string[] {
  const known = new Set(savedWhole(host, named, taskType, false))
  const found = [...host.parameters.values()].filter(p => {
    const isHead = p.isNew || host.headModules.some(head => p.name.startsWith(`${head}.`))
    // Under `bias: all` the biases of a head that is not saved whole are there too.
    const isBias = hasAllBiases && p.name.endsWith('.bias')
    return isHead && !isBias && !known.has(p) && file.has(`base_model.model.${p.name}`)
  })
  return [...new Set(found.map(p => moduleOf(p.name)))]
}

type Choosing = Pick<PlaceContext, 'taskType' | 'isStrict'>

/** The linear layers that targets choose, in the model's order, by PEFT's rules. */
export function targetLinears(
  host: Host,
  options: MatchOptions,
  context: Choosing,
  defaults?: TargetContext['defaults'],
): Linear[] {
  return chosenOf(host, [...host.linears.values()], options, context, defaults)
}

/** The same with tables of vectors among them, which must be named: 'all-linear' leaves them out. */
export function layersChosen(host: Host, options: MatchOptions, context: Choosing): Layer[] {
  return chosenOf(host, layersOf(host), options, context)
}

function chosenOf<L extends Layer>(
  host: Host,
  layers: readonly L[],
  options: MatchOptions,
  { taskType, isStrict }: Choosing,
  defaults?: TargetContext['defaults'],
): L[] {
  const infos = layers.map(layer => ({ path: layer.path, isHead: isLeftOut(host, layer), layer }))
  const { modelType } = host.config
  const found = matchTargets(infos, options, { modelType, taskType, strict: isStrict, ...(defaults && { defaults }) })
  return found.map(({ layer }) => layer)
}

/** Whether 'all-linear' leaves a layer out: tables, the head of the task, the output layer of a language model. */
function isLeftOut({ headModules, output }: Host, layer: Layer): boolean {
  const { path } = layer
  return isTable(layer) || layer === output || headModules.some(head => path === head || path.startsWith(`${head}.`))
}

/** What trains whole under options: heads, modules to save, then biases; `targets`: what the method adapts. */
export function trainedWhole(
  host: Host,
  { modulesToSave = [], bias = 'none' }: { modulesToSave?: readonly string[] | undefined; bias?: Bias },
  { taskType, isStrict }: Pick<PlaceContext, 'taskType' | 'isStrict'>,
  targets: readonly { readonly path: string }[],
): Parameter[] {
  const saved = savedWhole(host, modulesToSave, taskType, isStrict)
  return [...new Set([...saved, ...biasParameters(host, bias, new Set(targets.map(({ path }) => path)))])]
}
