// Which parameters LoRA trains in full beside its factors: heads, what the checkpoint lacked, biases.

import { check, nearest } from '../errors.ts'
import type { Parameter } from '../nn/module.ts'
import type { Bias, TaskType } from './config.ts'
import type { Host } from './method.ts'
import { matchModulesToSave, modulesToSaveFor } from './targets.ts'

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

/**
 * Parameters of the modules that names of `modules_to_save` stand for, in the model's order. With `strict`, a name
 * of `asked` that stands for nothing is an `ERR_OPTION`; the heads that a task adds may be absent, as in PEFT.
 */
export function savedWhole(
  host: Host,
  asked: readonly string[],
  taskType: TaskType | undefined,
  strict: boolean,
): Parameter[] {
  const paths = modulePaths(host)
  for (const name of strict ? asked : []) {
    const known = matchModulesToSave(paths, [name]).length > 0 || host.parameters.has(name)
    check(known, 'ERR_OPTION', () => {
      const ends = paths.flatMap(path => [path, path.split('.').at(-1)!])
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
export function biasParameters(host: Host, bias: Bias, targeted: ReadonlySet<string>): Parameter[] {
  if (bias === 'none') return []
  return [...host.parameters.values()].filter(({ name }) => {
    return /(^|\.)bias$/.test(name) && (bias === 'all' || targeted.has(moduleOf(name)))
  })
}
