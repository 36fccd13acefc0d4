import { openTrained, type Trained } from '../open/trained.ts'
import type { Settings } from './options/options.ts'
import type { Console } from './terminal/console.ts'

/** Opens what was trained and says what its user should know of it. */
export async function openTold(settings: Settings, console: Console): Promise<Trained> {
  const trained = await openTrained(settings)
  for (const notice of trained.notices) console.note(notice)
  return trained
}
