// `lowrank quickstart`: the whole way on what the package brings, in about two minutes.

import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { bundled } from '../../bundled.ts'
import type { Row } from '../../data/row.ts'
import { check } from '../../errors.ts'
import { taskOfModel } from '../../tasks/index.ts'
import { predictRows } from '../../train/predict.ts'
import { findBase } from '../base.ts'
import type { Settings } from '../options/options.ts'
import { prepareTraining, type Setup } from '../setup.ts'
import type { Console } from '../terminal/console.ts'
import { predictionLine } from '../terminal/results.ts'
import { shown } from '../trainOutput.ts'
import { runTraining } from '../trainRun.ts'
import { dryRun } from './dryRun.ts'
import { checkOutput } from './train.ts'

/** Sentences that stand nowhere in the sample. */
const newTexts = [
  'a big grey beast with a trunk that lives in Africa and never forgets',
  'a thick soup of beans, onions and smoked ham',
  'money that a bank lends to somebody who buys a house',
]

/** Fine-tunes the bundled encoder on the bundled sample and says three things about new texts. */
export async function quickstartCommand(given: Settings, console: Console): Promise<number> {
  const base = findBase(undefined)
  check(existsSync(bundled.sample), 'ERR_DATA', () => `quickstart: ${bundled.sample} is missing; reinstall the package`)
  const settings: Settings = { ...given, data: bundled.sample, model: base.path }
  const out = resolve(settings.out!)
  if (!settings.dryRun) await checkOutput(out, { overwrite: isQuickstart(out), resume: false })
  console.note('LoRA on the bundled encoder: which of 25 kinds of thing does a dictionary definition define?')
  const setup = await prepareTraining(settings, console, settings.dryRun ? 'meta' : settings.device)
  try {
    if (settings.dryRun) return await dryRun(setup, settings, console)
    const { exitCode, outcome } = await runTraining({ ...setup, out }, settings, console)
    if (!outcome) return exitCode
    const predictions = await predictNew(setup, settings, console)
    const adapter = shown(join(out, 'adapter'))
    console.line()
    console.line(`next: npx lowrank predict ${adapter} "a bird that cannot fly"`)
    console.event({ ...outcome.summary, predictions })
    return 0
  } finally {
    setup.model.dispose()
  }
}

async function predictNew(setup: Setup, settings: Settings, console: Console): Promise<object[]> {
  const rows = newTexts.map((text, i): Row => ({ values: { text }, file: '', line: i + 1 }))
  const found: object[] = []
  console.line()
  console.line('new texts:')
  for await (const record of predictRows(setup, rows, { batchSize: settings.evalBatchSize, top: 2 })) {
    found.push(record)
    console.line(`  ${predictionLine(taskOfModel(setup.model), record, console.color)}`)
  }
  return found
}

/** Whether a folder holds an earlier quickstart, which may be replaced. */
function isQuickstart(out: string): boolean {
  const path = join(out, 'metrics.json')
  if (!existsSync(path)) return false
  const { settings } = JSON.parse(readFileSync(path, 'utf8')) as { settings?: { data?: string } }
  return settings?.data === bundled.sample
}
