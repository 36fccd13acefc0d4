// `--dry-run`: everything about a run but the run.

import type { Matched } from '../peft/index.ts'
import { planTraining } from '../train/plan.ts'
import { renderBatch, viewBatch } from './batchView.ts'
import type { Console } from './console.ts'
import { bytesText, countText, plural, shareText } from './format.ts'
import type { Settings } from './options.ts'
import { type Setup, trainOptions } from './setup.ts'
import { table } from './table.ts'

/** Prints what a run would do and take; the model is on the meta device. @throws as `train` before its first step */
export async function dryRun(setup: Setup, settings: Settings, console: Console): Promise<number> {
  const { model, attached, tokenizer, examples, maxLength, truncated } = setup
  const plan = await planTraining(model, examples, { ...trainOptions(settings, tokenizer, model), method: attached })
  for (const { message, cure } of plan.warnings) console.warn(`${message}; ${cure}`)
  const { task, problem } = model.head
  const sequences = viewBatch(plan.firstBatch, { tokenizer, task, problem, labels: model.labels })
  const groups = groupMatched(plan.matched)
  if (groups.length > 0) {
    const right = { align: 'right' } as const
    const columns = [
      { header: 'module' },
      { header: 'count', ...right },
      { header: 'r', ...right },
      { header: 'scale', ...right },
    ]
    console.line(
      table(
        columns,
        groups.map(({ name, count, r, scale }) => [name, `${count}`, `${r}`, `${+scale.toPrecision(4)}`]),
      ),
    )
    console.line()
  }
  const { train, validation = [], test = [] } = examples
  const rows: [string, string][] = [
    [
      'trained',
      `${countText(plan.trainable)} of ${countText(plan.total)} parameters (${shareText(plan.trainable / plan.total)})`,
    ],
    [
      'data',
      `${countText(train.length)} to train, ${countText(validation.length)} to validate, ${countText(test.length)} to test`,
    ],
    ['length', `at most ${maxLength} tokens, ${plural(truncated, 'example')} cut`],
    [
      'steps',
      `${countText(plan.totalSteps)}, ${countText(plan.stepsPerEpoch)} an epoch of ${countText(plan.tokensPerEpoch)} tokens`,
    ],
    [
      'tensors',
      `${bytesText(plan.peakBytes)} at the peak, exactly: ${bytesText(plan.modelBytes)} of weights, ${bytesText(plan.optimizerBytes)} of optimizer`,
    ],
    ['process', `about ${bytesText(plan.rssBytes)} of resident memory`],
  ]
  for (const [name, value] of rows) console.line(`${name.padEnd(8)}  ${value}`)
  console.line()
  console.line(`first batch, ${plural(sequences.length, 'sequence')}:`)
  for (const line of renderBatch(sequences, console.color)) console.line(line)
  const { firstBatch: _, ...numbers } = plan
  console.event({ type: 'summary', dryRun: true, ...numbers, maxLength, truncated, firstBatch: sequences })
  return 0
}

interface MatchedGroup {
  readonly name: string
  readonly r: number
  readonly scale: number
  count: number
}

/** Matched modules of one name, rank and scale, layers taken together. */
function groupMatched(matched: readonly Matched[]): MatchedGroup[] {
  const groups = new Map<string, MatchedGroup>()
  for (const { path, r, scale } of matched) {
    const name = path.replace(/\.\d+\./g, '.*.')
    const key = `${name} ${r} ${scale}`
    const group = groups.get(key) ?? { name, r, scale, count: 0 }
    group.count++
    groups.set(key, group)
  }
  return [...groups.values()]
}
