// `lowrank merge`: base and adapter as one Hugging Face folder or GGUF file.

import { check } from '../../errors.ts'
import { portableName } from '../../hub/id.ts'
import { CODE_TYPES } from '../../io/bitsandbytesWrite.ts'
import { GGUF_TYPES } from '../../io/gguf/quantize.ts'
import { loadModel } from '../../model.ts'
import { useThreads } from '../../open/base.ts'
import { logitChange, probeLogits } from '../../open/logitChange.ts'
import type { Trained } from '../../open/trained.ts'
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

/** Types whose weights have fewer bits than floats. */
const ROUNDED: ReadonlySet<string> = new Set([...CODE_TYPES, 'q8_0', 'q4_0'])

/**
 * What loads a merged model whose weights were rounded to fewer bits, and tells how far its logits are from those of
 * base and adapter; undefined where nothing is rounded. It throws ERR_CHECKPOINT for a change above `--max-change`.
 */
async function comparison(
  { model, tokenizer, maxLength }: Trained,
  { type, maxChange: most }: Settings,
  console: Console,
) {
  if (type === undefined || !ROUNDED.has(type)) return undefined
  const before = await probeLogits(model, tokenizer, maxLength)
  return async (written: string): Promise<void> => {
    const { task, labels } = model
    const { problem } = model.head
    using rounded = await loadModel(written, { task, problem, labels: [...labels], headRows: 'inOrder' })
    const { largest, mean, spread } = logitChange(before, await probeLogits(rounded, tokenizer, maxLength))
    const share = mean === 0 ? 0 : mean / spread
    const change = `${type} changes logits by ${mean.toPrecision(3)} on average, ${largest.toPrecision(3)} at most`
    console.line(`${change}; their standard deviation is ${spread.toPrecision(3)}`)
    console.event({ type: 'change', largest, mean, deviation: spread })
    check(share <= most, 'ERR_CHECKPOINT', () => {
      const cure = 'take a type of more bits, or allow more with maxChange'
      return `maxChange: ${change}, ${share.toPrecision(3)} of their standard deviation, and ${most} is allowed; ${cure}`
    })
  }
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
    const codes = isGguf ? undefined : codesAsked(settings)
    const verify = await comparison(trained, settings, console)
    if (isGguf) await saveGguf(model, out, { tokenizer, type: isOneOf(GGUF_TYPES, type) ? type : undefined, verify })
    else await saveMerged(model, out, { tokenizer, codes, verify })
    console.line(`${out}: ${info.method} of ${layers} layers merged into ${portableName(trained.base.path)}`)
    console.event({ type: 'summary', out, adapter: trained.folder, base: trained.base.path, layers })
    return 0
  } finally {
    model.dispose()
  }
}
