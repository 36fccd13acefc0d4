import { existsSync } from 'node:fs'
import { hubIdOf } from '../hub/id.ts'
import { openTrained, type Trained } from '../open/trained.ts'
import type { Settings } from './options/options.ts'
import type { Console } from './terminal/console.ts'

/**
 * With a base alone, that is what speaks; and a first word that is no folder here and no owner/name on the hub, with
 * `--model` there, is no adapter but the first of the texts.
 */
export function speakerOf(settings: Settings): Settings {
  const { adapter, model, revision, texts } = settings
  if (model === undefined) return settings
  const isText = adapter !== undefined && !existsSync(adapter) && !(adapter.includes('/') && hubIdOf(adapter))
  if (adapter !== undefined && !isText) return settings
  const named = revision === undefined ? model : `${model}@${revision}`
  const said = adapter === undefined ? texts : [adapter, ...(texts ?? [])]
  return { ...settings, adapter: named, model: undefined, revision: undefined, texts: said }
}

/** Opens what was trained and says what its user should know of it. */
export async function openTold(settings: Settings, console: Console): Promise<Trained> {
  const trained = await openTrained(settings)
  for (const notice of trained.notices) console.note(console.named(notice))
  return trained
}
