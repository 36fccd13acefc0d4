// `lowrank merge`: base and adapter as one Hugging Face folder or GGUF file.

import { portableName } from '../../hub/id.ts'
import { useThreads } from '../../open/base.ts'
import { saveGguf, saveMerged } from '../../peft/index.ts'
import { must } from '../../tuple.ts'
import { freeFolder, isGgufOut } from '../adapters.ts'
import type { Settings } from '../options/options.ts'
import type { Console } from '../terminal/console.ts'
import { openTold } from '../trained.ts'

/** Writes the merged model. @throws ERR_OPTION for a folder that is not empty, without --overwrite */
export async function mergeCommand(settings: Settings, console: Console): Promise<number> {
  useThreads(settings)
  const isGguf = isGgufOut(settings)
  const out = await freeFolder(settings, [must(settings.adapter, 'adapter')])
  // Blocks of a GGUF file would be refused: what is written has floats.
  const trained = await openTold({ ...settings, storage: settings.storage ?? 'f32' }, console)
  const { model, attached, info } = trained
  try {
    const layers = attached?.matched.length ?? 0
    const tokenizer = trained.tokenizer.path
    if (isGguf) await saveGguf(model, out, { tokenizer, type: settings.type })
    else await saveMerged(model, out, { tokenizer })
    console.line(`${out}: ${info.method} of ${layers} layers merged into ${portableName(trained.base.path)}`)
    console.event({ type: 'summary', out, adapter: trained.folder, base: trained.base.path, layers })
    return 0
  } finally {
    model.dispose()
  }
}
