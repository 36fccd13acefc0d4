// `lowrank train`: from data and settings to an adapter, a report and what they are worth.

import { existsSync, rmSync } from 'node:fs'
import { basename, extname, join, resolve } from 'node:path'
import { check } from '../../errors.ts'
import { writeFileAtomic } from '../../io/atomic.ts'
import { kindOf, METHODS } from '../../peft/index.ts'
import { flagOf } from '../options/option.ts'
import { OPTIONS, type Settings } from '../options/options.ts'
import type { Resolved } from '../options/settings.ts'
import { prepareTraining } from '../setup.ts'
import type { Console } from '../terminal/console.ts'
import { runTraining } from '../trainRun.ts'
import { dryRun } from './dryRun.ts'

/** Fine-tunes, or shows what it would do under --dry-run. */
export async function trainCommand(settings: Settings, console: Console, { given }: Resolved): Promise<number> {
  const out = resolve(settings.out ?? defaultOut(settings))
  checkGiven(settings, given)
  if (!settings.dryRun) await checkOutput(out, settings)
  const setup = await prepareTraining(settings, console, settings.dryRun ? 'meta' : settings.device)
  try {
    if (settings.dryRun) return await dryRun(setup, settings, console)
    const { exitCode, outcome } = await runTraining(
      { ...setup, out, checkpoints: join(out, 'checkpoints') },
      settings,
      console,
    )
    if (outcome) console.event(outcome.summary)
    return exitCode
  } finally {
    setup.model.dispose()
  }
}

function defaultOut({ data, train }: Settings): string {
  const path = resolve(data ?? train!)
  return `lowrank-${basename(path, extname(path))}`
}

/** Options that contradict each other. @throws ERR_OPTION */
function checkGiven(settings: Settings, given: Resolved['given']): void {
  const methodOptions = OPTIONS.filter(({ group, name }) => group === 'Method' && given.has(name)).map(o => o.name)
  check(settings.initFrom === undefined || methodOptions.length === 0, 'ERR_OPTION', () => {
    return `${flagOf(methodOptions[0]!)}: the adapter of --init-from keeps its own settings; leave one of them out`
  })
  const { type, fields } = kindOf(settings.method)
  const [other] = methodOptions.filter(name => name !== 'method' && !fields.some(field => field.name === name))
  check(other === undefined, 'ERR_OPTION', () => {
    const owners = METHODS.filter(kind => kind.fields.some(({ name }) => name === other)).map(kind => kind.type)
    return `${flagOf(other!)}: belongs to ${owners.join(', ')}, the method is ${type}; leave one of them out`
  })
  check(settings.resume === false || settings.initFrom === undefined, 'ERR_OPTION', () => {
    return 'resume: continues a run as it was, initFrom starts a new one from an adapter; keep one of them'
  })
}

const written = [
  'adapter',
  'model',
  'checkpoints',
  'tensorboard',
  'log.jsonl',
  'metrics.json',
  'predictions.jsonl',
  'report.html',
]

/** The output folder must be writable, and hold no other run; one to be replaced is removed. @throws ERR_OPTION */
export async function checkOutput(
  out: string,
  { overwrite, resume }: Pick<Settings, 'overwrite' | 'resume'>,
): Promise<void> {
  const probe = join(out, '.lowrank-write-test')
  const held = ['adapter', 'model', 'checkpoints', 'metrics.json'].find(name => existsSync(join(out, name)))
  check(held === undefined || overwrite || resume !== false, 'ERR_OPTION', () => {
    return `out: ${out} holds a run already (${held}); continue it with --resume, replace it with --overwrite, or name another folder with --out`
  })
  await writeFileAtomic(probe, '')
  rmSync(probe, { force: true })
  if (resume !== false) return
  for (const name of written) rmSync(join(out, name), { recursive: true, force: true })
}
