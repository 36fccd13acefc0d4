// Commands on adapters: several opened on one base, and one that was made of them written.

import { existsSync, readdirSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { check, fail } from '../errors.ts'
import { CODE_TYPES } from '../io/bitsandbytesWrite.ts'
import { GGUF_TYPES } from '../io/gguf/quantize.ts'
import { locate, openTrained, type Trained } from '../open/trained.ts'
import { type Adapter, loadAdapter, saveAdapter } from '../peft/index.ts'
import { isOneOf, must } from '../tuple.ts'
import type { Settings } from './options/options.ts'

/**
 * The folder, or GGUF file, that is to be written.
 * @throws ERR_OPTION where it is one of the sources, or is there and full without --overwrite
 */
export async function freeFolder(settings: Settings, sources: readonly string[]): Promise<string> {
  const out = resolve(settings.out ?? fail('ERR_OPTION', 'out: none given'))
  const there = statSync(out, { throwIfNoEntry: false })
  const taken = there !== undefined && (!there.isDirectory() || readdirSync(out).length > 0)
  const folders = await Promise.all(sources.map(locate))
  check(!folders.includes(out), 'ERR_OPTION', () => {
    return `out: ${settings.out} is the adapter itself; name another folder`
  })
  check(!taken || settings.overwrite, 'ERR_OPTION', () => {
    const what = there?.isDirectory() ? 'is not empty; name another folder' : 'is there already; name another file'
    return `out: ${settings.out} ${what}, or allow --overwrite`
  })
  return out
}

/** Adapters on one model, in the order of their folders. */
interface Opened {
  /** The first, with the model. */
  readonly trained: Trained
  readonly adapters: readonly Adapter[]
}

/** Opens adapters on the base of the first. @throws ERR_OPTION for a whole model, ERR_CONFIG for one of another base */
export async function openAdapters(settings: Settings, folders: readonly string[]): Promise<Opened> {
  const places = await Promise.all(folders.map(locate))
  for (const [i, place] of places.entries())
    check(existsSync(join(place, 'adapter_config.json')), 'ERR_OPTION', () => {
      return `adapters: ${folders[i]} holds a whole model and no adapter; name a folder that has adapter_config.json`
    })
  const trained = await openTrained({ ...settings, adapter: folders[0] }, { name: adapterName(0) })
  try {
    const adapters = [must(trained.attached, 'attached')]
    for (const [i, place] of places.slice(1).entries())
      adapters.push(await loadAdapter(trained.model, place, { name: adapterName(i + 1) }))
    return { trained, adapters }
  } catch (error) {
    trained.model.dispose()
    throw error
  }
}

/** The name of the adapter of a folder on the model. */
export function adapterName(index: number): string {
  return `adapter${index + 1}`
}

/** Writes an adapter made of others, with what the first knew of tokenizer, length and columns. */
export function saveMade(adapter: Adapter, out: string, { base, info }: Trained): Promise<string> {
  return saveAdapter(adapter, out, { baseModel: base.path, extra: info.extra })
}

/** Largest and mean error of the layers, in words. */
export function errorText(errors: ReadonlyMap<string, number>): string {
  const values = [...errors.values()]
  const mean = values.reduce((sum, error) => sum + error, 0) / values.length
  const [worst] = [...errors].toSorted((a, b) => b[1] - a[1])
  const share = (value: number) => `${(100 * value).toPrecision(3)} %`
  return `error ‖ΔW − BA‖ / ‖ΔW‖: mean ${share(mean)}, largest ${share(must(worst, 'worst')[1])} (${must(worst, 'worst')[0]})`
}

/** Whether `--out` names a GGUF file. @throws ERR_OPTION for a type that is not asked of one, or of a folder */
export function isGgufOut({ out, type }: Settings): boolean {
  const isFile = out !== undefined && /\.gguf$/i.test(out)
  check(isFile || type === undefined || isOneOf(CODE_TYPES, type), 'ERR_OPTION', () => {
    return `type: ${type} is of GGUF files; let --out end with .gguf`
  })
  check(!isFile || type === undefined || isOneOf(GGUF_TYPES, type), 'ERR_OPTION', () => {
    return `type: ${type} is of folders for bitsandbytes, and --out ${out} a GGUF file; it has ${GGUF_TYPES.join(', ')}`
  })
  return isFile
}
