// `lowrank convert`: an adapter as plain LoRA, in a folder as PEFT's or as a GGUF file, or in AdapterHub's files.

import { check } from '../../errors.ts'
import { useThreads } from '../../open/base.ts'
import { convert, saveAdapterGguf, saveAdapterHub, saveMlx } from '../../peft/index.ts'
import { must, nth } from '../../tuple.ts'
import { errorText, freeFolder, isGgufOut, openAdapters, saveMade } from '../adapters.ts'
import type { Settings } from '../options/options.ts'
import type { Console } from '../terminal/console.ts'

/** Writes the converted adapter. @throws what `convert` refuses */
export async function convertCommand(settings: Settings, console: Console): Promise<number> {
  useThreads(settings)
  const source = must(settings.adapter, 'adapter')
  const isGguf = isGgufOut(settings)
  check(isGguf || settings.type === undefined, 'ERR_OPTION', () => {
    return `type: ${settings.type} is of merged models; an adapter's folder is f32`
  })
  check(!isGguf || settings.layout === 'peft', 'ERR_OPTION', () => {
    return `layout: ${settings.layout} is a folder, and --out ${settings.out} a GGUF file; leave one of them out`
  })
  const out = await freeFolder(settings, [source])
  const { trained, adapters } = await openAdapters(settings, [source])
  try {
    if (settings.layout === 'adapterhub') {
      await saveAdapterHub(nth(adapters, 0), out)
      console.line(`${out}: ${trained.info.method} in AdapterHub's files`)
      console.event({ type: 'summary', out, adapter: trained.folder, method: trained.info.method })
      return 0
    }
    const { adapter, errors } = await convert(nth(adapters, 0), { rank: settings.rank, name: 'default' })
    if (isGguf) await saveAdapterGguf(adapter, out, { type: adapterType(settings) })
    else if (settings.layout === 'mlx') await saveMlx(adapter, out)
    else await saveMade(adapter, out, trained)
    const layers = adapter.matched.length
    const rank = must(nth(adapter.matched, 0).r, 'r')
    const { method } = trained.info
    console.line(`${out}: ${method} as LoRA of rank ${rank} on ${layers} layers`)
    console.line(errorText(errors))
    const record = { type: 'summary', out, adapter: trained.folder, method, rank, layers }
    console.event({ ...record, errors: Object.fromEntries(errors) })
    return 0
  } finally {
    trained.model.dispose()
  }
}

function adapterType({ type = 'f32' }: Settings): 'f32' | 'f16' {
  check(
    type === 'f32' || type === 'f16',
    'ERR_OPTION',
    () => `type: ${type} is of merged models; an adapter is f32 or f16`,
  )
  return type
}
