// `lowrank train`: from data and settings to an adapter, a report and what they are worth.

import { check } from '../../errors.ts'
import { kindOf, METHODS } from '../../peft/index.ts'
import { askedTexts } from '../../report/askedTexts.ts'
import { taskOfModel } from '../../tasks/index.ts'
import { must, nth } from '../../tuple.ts'
import { defaultOut } from '../data.ts'
import { flagOf } from '../options/option.ts'
import { OPTIONS, type Settings } from '../options/options.ts'
import type { ResolvedSettings } from '../options/settings.ts'
import { RunFolder } from '../runFolder.ts'
import { prepareTraining, type Setup } from '../setup.ts'
import type { Console } from '../terminal/console.ts'
import { commandLine, shownPath } from '../terminal/format.ts'
import { runTraining } from '../trainRun.ts'
import { dryRun } from './dryRun.ts'

/** Fine-tunes, or shows what it would do under --dry-run. */
export async function trainCommand(settings: Settings, console: Console, { given }: ResolvedSettings): Promise<number> {
  checkGiven(settings, given)
  if (settings.dryRun) {
    const setup = await prepareTraining(settings, console, 'meta')
    return dryRun(setup, settings, console).finally(() => free(setup))
  }
  const { data, train, validation, test, model, tokenizer, initFrom, teacher, overwrite, resume } = settings
  const folder = await RunFolder.open(settings.out ?? defaultOut(settings), {
    command: 'train',
    overwrite,
    resume,
    inputs: { data, train, validation, test, model, tokenizer, initFrom, teacher },
  })
  try {
    const setup = await prepareTraining(settings, console, settings.device)
    try {
      const { exitCode, outcome } = await runTraining({ ...setup, folder, checkpoints: true }, settings, console)
      if (outcome) {
        console.line()
        const { tokenizer, data: known } = setup
        const asked = Object.values(askedTexts({ model: setup.model, reader: { tokenizer, columns: known.columns } }))
        const verb = taskOfModel(setup.model).says ? 'generate' : 'predict'
        console.line(`next: ${commandLine([verb, shownPath(folder.out), ...asked])}`)
        console.event(outcome.summary)
      }
      return exitCode
    } finally {
      free(setup)
    }
  } finally {
    await folder.close()
  }
}

function free({ model, teacher }: Setup): void {
  model.dispose()
  teacher?.dispose()
}

/** Options that contradict each other. @throws ERR_OPTION */
function checkGiven(settings: Settings, given: ResolvedSettings['given']): void {
  const methodOptions = OPTIONS.filter(({ group, name }) => group === 'Method' && given.has(name)).map(o => o.name)
  check(settings.initFrom === undefined || methodOptions.length === 0, 'ERR_OPTION', () => {
    return `${flagOf(nth(methodOptions, 0))}: the adapter of --init-from keeps its own settings; leave one of them out`
  })
  const { type, fields } = kindOf(settings.method)
  const [other] = methodOptions.filter(name => name !== 'method' && !fields.some(field => field.name === name))
  check(other === undefined, 'ERR_OPTION', () => {
    const owners = METHODS.filter(kind => kind.fields.some(({ name }) => name === other)).map(kind => kind.type)
    return `${flagOf(must(other, 'other'))}: belongs to ${owners.join(', ')}, the method is ${type}; leave one of them out`
  })
  const apart = (['validation', 'test'] as const).find(name => settings[name] !== undefined)
  check(settings.train !== undefined || apart === undefined, 'ERR_OPTION', () => {
    return `${apart}: stands beside a file of the training split; name that with --train in place of data`
  })
  check(settings.resume === false || !settings.overwrite, 'ERR_OPTION', () => {
    return 'resume: goes on with the run that overwrite would replace; keep one of them'
  })
}
