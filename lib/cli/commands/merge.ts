// `lowrank merge`: base and adapter as one Hugging Face folder or GGUF file.

import { check } from '../../errors.ts'
import { portableName } from '../../hub/id.ts'
import { CODE_TYPES } from '../../io/bitsandbytesWrite.ts'
import { GGUF_TYPES } from '../../io/gguf/quantize.ts'
import { useThreads } from '../../open/base.ts'
import { type CodeOptions, saveGguf, saveMerged } from '../../peft/index.ts'
import { isOneOf, must } from '../../tuple.ts'
import { freeFolder, isGgufOut } from '../adapters.ts'
import type { Settings } from '../options/options.ts'
import type { Console } from '../terminal/console.ts'
import { openTold } from '../trained.ts'

/** Codes of bitsandbytes, where the type asks for them. @throws ERR_OPTION for scales of codes that are none */
function codesAsked({ type, doubleQuant }: Settings): CodeOptions | undefined {
  if (isOneOf(CODE_TYPES, type)) return { type, doubleQuant }
  check(!doubleQuant, 'ERR_OPTION', () => 'doubleQuant: is of --type nf4 and fp4; name one of them')
  return undefined
}

/** Writes the merged model. @throws ERR_OPTION for a folder that is not empty, without --overwrite */
export async function mergeCommand(settings: Settings, console: Console): Promise<number> {
  useThreads(settings)
  const isGguf = isGgufOut(settings)
  const { type } = settings
  const out = await freeFolder(settings, [must(settings.adapter, 'adapter')])
  // Blocks of a GGUF file would be refused: what is written has floats.
  const trained = await openTold({ ...settings, storage: settings.storage ?? 'f32' }, console)
  const { model, attached, info } = trained
  try {
    const layers = attached?.matched.length ?? 0
    const tokenizer = trained.tokenizer.path
    if (isGguf) await saveGguf(model, out, { tokenizer, type: isOneOf(GGUF_TYPES, type) ? type : undefined })
    else await saveMerged(model, out, { tokenizer, codes: codesAsked(settings) })
    console.line(`${out}: ${info.method} of ${layers} layers merged into ${portableName(trained.base.path)}`)
    console.event({ type: 'summary', out, adapter: trained.folder, base: trained.base.path, layers })
    return 0
  } finally {
    model.dispose()
  }
}
