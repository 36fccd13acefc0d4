// What the files of a study say of its settings.

import { packageVersion } from '../io/package.ts'
import type { Setting } from '../report/report.ts'
import { dataHash, examplesHash } from '../train/fingerprint.ts'
import { TRAIN_OPTIONS } from '../train/options.ts'
import { keysOf } from '../tuple.ts'
import type { Settings } from './options/options.ts'
import { plainSettings } from './options/settings.ts'
import type { prepareBase } from './setup.ts'

/** What decides a run beside its method, rate and seed. */
export function studyOrigin(
  { base, examples, maxLength }: Pick<Awaited<ReturnType<typeof prepareBase>>, 'base' | 'examples' | 'maxLength'>,
  settings: Settings,
): Record<string, unknown> {
  const options = keysOf(TRAIN_OPTIONS).filter(name => !('neutral' in TRAIN_OPTIONS[name]) && name !== 'seed')
  return {
    version: packageVersion(),
    base: base.path,
    data: dataHash(examples),
    test: examplesHash(examples.test ?? []),
    maxLength,
    device: settings.device,
    storage: settings.storage,
    compute: settings.compute,
    classWeights: settings.classWeights,
    ...Object.fromEntries(options.map(name => [name, settings[name]])),
  }
}

/** Settings for a page, without those that change no result. */
export function settingsTable(settings: object, base: string): Record<string, Setting> {
  const left = ['json', 'quiet', 'config', 'texts', 'resume', 'overwrite']
  return { base, ...plainSettings(settings, left) }
}
