// `lowrank combine`: several adapters of one base as one LoRA adapter.

import { check, fail } from '../../errors.ts'
import { useThreads } from '../../open/base.ts'
import { locate } from '../../open/trained.ts'
import { combine } from '../../peft/index.ts'
import { must, nth } from '../../tuple.ts'
import { adapterName, errorText, freeFolder, openAdapters, saveMade } from '../adapters.ts'
import type { Settings } from '../options/options.ts'
import type { Console } from '../terminal/console.ts'

/** Writes the combined adapter. @throws ERR_OPTION for weights of another number, and what `combine` refuses */
export async function combineCommand(settings: Settings, console: Console): Promise<number> {
  useThreads(settings)
  const { combination: kind, rank, density, sign, seed } = settings
  const folders = must(settings.adapters, 'adapters')
  const weights = settings.weights ?? folders.map(() => 1 / folders.length)
  check(weights.length === folders.length, 'ERR_OPTION', () => {
    return `weights: ${weights.length} numbers for ${folders.length} adapters; give one each`
  })
  check(rank === undefined || kind === 'svd', 'ERR_OPTION', () => {
    return `rank: ${kind} has the rank that follows from the adapters; leave it out, or take --combination svd`
  })
  const head = await headName(settings, folders)
  const out = await freeFolder(settings, folders)
  const { trained, adapters } = await openAdapters(settings, folders)
  try {
    const parts = adapters.map((adapter, i) => ({ adapter, weight: nth(weights, i) }))
    const options = { kind, density, sign, seed, head, name: 'default' }
    const { adapter, errors } = await combine(parts, rank === undefined ? options : { ...options, rank })
    await saveMade(adapter, out, trained)
    const layers = adapter.matched.length
    const made = must(nth(adapter.matched, 0).r, 'r')
    console.line(`${out}: ${kind} of ${folders.length} adapters, LoRA of rank ${made} on ${layers} layers`)
    if (errors.size > 0) console.line(errorText(errors))
    const record = { type: 'summary', out, adapters: folders, weights, kind, rank: made, layers }
    console.event({ ...record, errors: Object.fromEntries(errors) })
    return 0
  } finally {
    trained.model.dispose()
  }
}

async function headName({ headFrom }: Settings, folders: readonly string[]): Promise<string | undefined> {
  if (headFrom === undefined) return undefined
  const at = (await Promise.all(folders.map(locate))).indexOf(await locate(headFrom))
  return at >= 0 ? adapterName(at) : fail('ERR_OPTION', `headFrom: ${headFrom} is none of ${folders.join(', ')}`)
}
