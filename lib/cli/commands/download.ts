// `lowrank download`: models and adapters of the hub into the cache, for later use without a network.

import { fail } from '../../errors.ts'
import { localFolder } from '../../hub/folder.ts'
import type { Settings } from '../options/options.ts'
import type { Console } from '../terminal/console.ts'
import { shownPath } from '../terminal/format.ts'

/** Fetches what is missing of each and prints its folder. @throws ERR_HUB where the hub does not give it */
export async function downloadCommand({ ids, revision }: Settings, console: Console): Promise<number> {
  const cure = 'name a model or adapter of the Hugging Face hub (owner/name)'
  const folders: string[] = []
  for (const id of ids ?? fail('ERR_OPTION', `ids: none given; ${cure}`)) {
    const folder = await localFolder(id, { option: 'ids', purpose: 'trained', revision, cure })
    folders.push(folder)
    console.line(`${id}  ${shownPath(folder)}`)
  }
  console.event({ type: 'summary', folders })
  return 0
}
