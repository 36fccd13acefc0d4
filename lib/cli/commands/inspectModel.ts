// `lowrank inspect model`: what a model folder holds and what an adapter would attach to.

import { fail } from '../../errors.ts'
import { headOf, headTasks, type TaskName } from '../../heads/index.ts'
import { architectures, configLabels, readModelConfig, savedDtype } from '../../io/config.ts'
import type { Model } from '../../model.ts'
import { MODEL_TYPES } from '../../models/index.ts'
import { maxTokens } from '../../nn/batch.ts'
import { findBase, loadBase } from '../../open/base.ts'
import { taskOfClass } from '../../open/trained.ts'
import { attach, lora } from '../../peft/index.ts'
import { isOneOf, nth } from '../../tuple.ts'
import type { Settings } from '../options/options.ts'
import type { Console } from '../terminal/console.ts'
import { bytesText, countText, shareText } from '../terminal/format.ts'
import { table } from '../terminal/table.ts'

/** Linear layers of one name and shape. */
interface LinearGroup {
  readonly name: string
  /** [out, in]. */
  readonly shape: readonly [number, number]
  readonly count: number
  /** Whether LoRA attaches to it by default. */
  readonly target: boolean
}

/** A model folder, as plain data. */
interface ModelInspection {
  readonly path: string
  readonly family: string
  readonly architectures: readonly string[]
  readonly task: TaskName
  readonly labels: readonly string[]
  readonly dtype: string | null
  readonly layers: number
  readonly hiddenSize: number
  readonly vocabSize: number
  readonly maxTokens: number
  readonly parameters: number
  readonly parameterGroups: Readonly<Record<string, number>>
  readonly bytes: number
  readonly storage: string
  readonly newTensors: readonly string[]
  readonly linears: readonly LinearGroup[]
  /** LoRA with its defaults: r 8 on the family's targets. */
  readonly lora: { readonly trainable: number; readonly total: number }
}

/** Describes a model folder; its weights are checked, not kept. @throws ERR_CONFIG, ERR_CHECKPOINT as loadModel does */
async function inspectModel(settings: Settings): Promise<ModelInspection> {
  const { path } = await findBase(settings)
  const config = readModelConfig(path, MODEL_TYPES)
  const classes = architectures(config)
  const asked = isOneOf(headTasks, settings.task) ? settings.task : undefined
  const task = asked ?? classes.flatMap(name => taskOfClass(name) ?? [])[0]
  const labels = configLabels(config)?.id2label ?? ['LABEL_0', 'LABEL_1']
  const shown = task ?? nth(headTasks, 0)
  const head = { task: shown, labels: headOf(shown).isLabelled ? labels : undefined }
  const model = await loadBase(path, head, settings, 'meta')
  try {
    return describe(model, path, classes, savedDtype(config) ?? null)
  } finally {
    model.dispose()
  }
}

function describe(model: Model, path: string, classes: readonly string[], dtype: string | null): ModelInspection {
  const { backbone, family } = model
  const groups: Record<string, number> = {}
  let total = 0
  for (const { name, size } of model.parameters.values()) {
    const isTable = name === backbone.wordEmbeddings.weight.name || /(^|\.)(embed\w*|\w*embeddings|wpe)\./.test(name)
    const group = isTable ? 'embeddings' : /\.\d+\./.test(name) ? 'layers' : 'head and pooler'
    groups[group] = (groups[group] ?? 0) + size
    total += size
  }
  const attached = attach(model, lora())
  const targets = new Set(attached.matched.map(({ path: module }) => module))
  const trainable = attached.trainable.reduce((sum, parameter) => sum + parameter.size, 0)
  const factors = attached.trainable.filter(({ base }) => !base).reduce((sum, p) => sum + p.size, 0)
  return {
    path,
    family: family.modelType,
    architectures: classes,
    task: model.task,
    labels: model.labels,
    dtype,
    layers: backbone.layers,
    hiddenSize: backbone.hiddenSize,
    vocabSize: backbone.limits.vocabSize,
    maxTokens: maxTokens(backbone.limits),
    parameters: total,
    parameterGroups: groups,
    bytes: model.bytes,
    storage: model.storage,
    newTensors: model.newTensors,
    linears: groupLinears(model, targets),
    lora: { trainable, total: total + factors },
  }
}

function groupLinears(model: Model, targets: ReadonlySet<string>): LinearGroup[] {
  const groups = new Map<string, LinearGroup & { count: number }>()
  for (const [path, { outFeatures, inFeatures }] of model.linears) {
    const name = path.replace(/^.*\.\d+\./, '')
    const key = `${name} ${outFeatures} ${inFeatures}`
    const group = groups.get(key) ?? { name, shape: [outFeatures, inFeatures], count: 0, target: targets.has(path) }
    group.count++
    groups.set(key, group)
  }
  return [...groups.values()]
}

/** Prints a model's inspection. */
export async function inspectModelCommand(settings: Settings, console: Console): Promise<number> {
  if (settings.model === undefined) fail('ERR_OPTION', 'model: none given')
  const found = await inspectModel(settings)
  console.event(found)
  const size = `${countText(found.parameters)} parameters, ${bytesText(found.bytes)} as ${found.storage} in memory`
  const rows: [string, string][] = [
    ['folder', found.path],
    ['model', `${found.family}${found.architectures.length > 0 ? ` (${found.architectures.join(', ')})` : ''}`],
    ['size', size],
    ['shape', `${found.layers} layers of ${found.hiddenSize}, ${countText(found.vocabSize)} tokens in the vocabulary`],
    ['length', `at most ${found.maxTokens} tokens`],
    ['saved as', found.dtype ?? 'not said'],
    ['task', `${found.task}${found.labels.length > 0 ? `: ${found.labels.join(', ')}` : ''}`],
    ['new', found.newTensors.join(', ') || 'nothing; every tensor is in the checkpoint'],
  ]
  for (const [name, value] of rows) console.line(`${name.padEnd(10)}${value}`)
  console.line()
  const groups = Object.entries(found.parameterGroups)
  const share = groups.map(([name, count]) => [name, countText(count), shareText(count / found.parameters)])
  console.line(
    table([{ header: 'part' }, { header: 'parameters', align: 'right' }, { header: '', align: 'right' }], share),
  )
  console.line()
  const linears = found.linears.map(({ name, shape, count, target }) => {
    return [name, `${shape[0]} × ${shape[1]}`, String(count), target ? 'yes' : '']
  })
  const columns = [
    { header: 'linear layer' },
    { header: 'out × in', align: 'right' },
    { header: 'count', align: 'right' },
    { header: 'LoRA by default' },
  ] as const
  console.line(table(columns, linears))
  const { trainable, total } = found.lora
  console.line()
  console.line(`LoRA r 8 there trains ${countText(trainable)} of ${countText(total)} (${shareText(trainable / total)})`)
  return 0
}
