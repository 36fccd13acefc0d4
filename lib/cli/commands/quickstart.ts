// `lowrank quickstart`: the whole way on what the package brings, in about two minutes.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { bundled } from '../../bundled.ts'
import type { Row } from '../../data/row.ts'
import { check } from '../../errors.ts'
import { findBase } from '../../open/base.ts'
import { taskOfModel } from '../../tasks/index.ts'
import { predictRows } from '../../train/predict.ts'
import { must } from '../../tuple.ts'
import type { Settings } from '../options/options.ts'
import { RunFolder } from '../runFolder.ts'
import { prepareTraining, type Setup } from '../setup.ts'
import type { Console } from '../terminal/console.ts'
import { commandLine, shownPath } from '../terminal/format.ts'
import { predictionLine } from '../terminal/results.ts'
import { runTraining } from '../trainRun.ts'
import { dryRun } from './dryRun.ts'

/** Sentences that stand nowhere in the sample. */
const newTexts = [
  'a big grey beast with a trunk that lives in Africa and never forgets',
  'a thick soup of beans, onions and smoked ham',
  'money that a bank lends to somebody who buys a house',
]

/** Fine-tunes the bundled encoder on the bundled sample and says three things about new texts. */
export async function quickstartCommand(given: Settings, console: Console): Promise<number> {
  const base = await findBase({})
  check(existsSync(bundled.sample), 'ERR_DATA', () => `quickstart: ${bundled.sample} is missing; reinstall the package`)
  const settings: Settings = { ...given, data: bundled.sample, model: base.path }
  console.note('LoRA on the bundled encoder: which of 25 kinds of thing does a dictionary definition define?')
  if (settings.dryRun) {
    const setup = await prepareTraining(settings, console, 'meta')
    return dryRun(setup, settings, console).finally(() => setup.model.dispose())
  }
  const inputs = { data: bundled.sample, model: base.path }
  const folder = await RunFolder.open(must(settings.out, 'out'), {
    command: 'quickstart',
    overwrite: false,
    resume: false,
    inputs,
  })
  try {
    const setup = await prepareTraining(settings, console, settings.device)
    return await learn(setup, folder, settings, console).finally(() => setup.model.dispose())
  } finally {
    await folder.close()
  }
}

async function learn(setup: Setup, folder: RunFolder, settings: Settings, console: Console): Promise<number> {
  const { exitCode, outcome } = await runTraining({ ...setup, folder, checkpoints: false }, settings, console)
  if (!outcome) return exitCode
  const predictions = await predictNew(setup, settings, console)
  console.line()
  console.line(`next: ${commandLine(['predict', shownPath(join(folder.out, 'adapter')), 'a bird that cannot fly'])}`)
  console.event({ ...outcome.summary, predictions })
  return 0
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
