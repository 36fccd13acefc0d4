// `--dry-run`: everything about a run but the run.

import type { Matched } from '../../peft/index.ts'
import { viewBatch } from '../../tasks/batchView.ts'
import { taskOfModel } from '../../tasks/index.ts'
import { planTraining, type TrainPlan } from '../../train/plan.ts'
import type { Settings } from '../options/options.ts'
import { type Setup, trainOptions } from '../setup.ts'
import { renderBatch } from '../terminal/batchLines.ts'
import type { Console } from '../terminal/console.ts'
import { bytesText, countText, plural, shareText } from '../terminal/format.ts'
import { table } from '../terminal/table.ts'

/** Prints what a run would do and take; the model is on the meta device. @throws as `train` before its first step */
export async function dryRun(setup: Setup, settings: Settings, console: Console): Promise<number> {
  const { model, attached, teacher, tokenizer, examples, maxLength, truncated } = setup
  const options = { ...trainOptions(settings, tokenizer, model), teacher, time: undefined }
  const plan = await planTraining(attached, examples, options)
  if (settings.time !== undefined)
    console.note(`--time ${settings.time} is planned for by a run, which times its first steps`)
  for (const { message, cure } of plan.warnings) console.warn(`${message}; ${cure}`)
  const task = taskOfModel(model)
  const sequences = viewBatch(plan.firstBatch, { tokenizer, task, labels: model.labels })
  for (const line of moduleLines(plan.matched)) console.line(line)
  for (const [name, value] of planRows(plan, setup)) console.line(`${name.padEnd(8)}  ${value}`)
  console.line()
  console.line(`first batch, ${plural(sequences.length, 'sequence')}:`)
  for (const line of renderBatch(sequences, console.color)) console.line(line)
  const { firstBatch: _, ...numbers } = plan
  console.event({ type: 'summary', dryRun: true, ...numbers, maxLength, truncated, firstBatch: sequences })
  return 0
}

function planRows(plan: TrainPlan, { examples, maxLength, truncated }: Setup): [string, string][] {
  const { train, validation = [], test = [] } = examples
  const [trainable, total, steps, each, tokens] = [
    plan.trainable,
    plan.total,
    plan.totalSteps,
    plan.stepsPerEpoch,
    plan.tokensPerEpoch,
  ].map(countText)
  const sizes = [train, validation, test].map(split => countText(split.length))
  const [peak, weights, optimizer] = [plan.peakBytes, plan.modelBytes, plan.optimizerBytes].map(bytesText)
  return [
    ['trained', `${trainable} of ${total} parameters (${shareText(plan.trainable / plan.total)})`],
    ['data', `${sizes[0]} to train, ${sizes[1]} to validate, ${sizes[2]} to test`],
    ['length', `at most ${maxLength} tokens, ${plural(truncated, 'example')} cut`],
    ['steps', `${steps}, ${each} an epoch of ${tokens} tokens`],
    ['adapter', `${bytesText(plan.memberBytes)} while it trains among others`],
    ['tensors', `${peak} at the peak, exactly: ${weights} of weights, ${optimizer} of optimizer`],
    ['process', `about ${bytesText(plan.rssBytes)} of resident memory`],
  ]
}

function moduleLines(matched: readonly Matched[]): string[] {
  if (matched.length === 0) return []
  const rows = groupMatched(matched).map(({ name, count, text }) => [name, String(count), text])
  const header = [{ header: 'module' }, { header: 'count', align: 'right' as const }, { header: 'adapter' }]
  return [...table(header, rows).split('\n'), '']
}

interface MatchedGroup {
  readonly name: string
  readonly text: string
  count: number
}

/** Matched modules of one name and description, layers taken together. */
function groupMatched(matched: readonly Matched[]): MatchedGroup[] {
  const groups = new Map<string, MatchedGroup>()
  for (const { path, text } of matched) {
    const name = path.replace(/\.\d+\./g, '.*.')
    const key = `${name} ${text}`
    const group = groups.get(key) ?? { name, text, count: 0 }
    group.count++
    groups.set(key, group)
  }
  return [...groups.values()]
}
