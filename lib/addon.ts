// Finds the addon, and says what to do where none fits: the only file that loads native code.

import { existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { LowrankError } from './errors.ts'
import { packageRoot } from './io/package.ts'

/** What decides which addon fits: operating system, processor and C library. */
export interface Platform {
  /** As Node names them: `linux-x64`, `darwin-arm64`. */
  readonly name: string
  /** `glibc` or `musl` on Linux, null elsewhere. */
  readonly libc: 'glibc' | 'musl' | null
  /** Version of glibc, where that is the C library. */
  readonly glibc: string | null
}

/** The platform this process runs on. */
export function platform(): Platform {
  const name = `${process.platform}-${process.arch}`
  if (process.platform !== 'linux') return { name, libc: null, glibc: null }
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined
  const glibc = report?.header?.glibcVersionRuntime ?? null
  return { name, libc: glibc === null ? 'musl' : 'glibc', glibc }
}

const find = createRequire(import.meta.url)('node-gyp-build') as {
  (root: string): unknown
  resolve(root: string): string
}

/** Loads the addon. @throws ERR_ADDON where none fits, or the one that does cannot be loaded */
export function loadAddon(): unknown {
  const path = addonPath()
  try {
    return createRequire(import.meta.url)(path)
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0] : String(error)
    throw unfit(`${path} cannot be loaded: ${reason}`, error)
  }
}

/** The file of the addon: a build of this package's own, else a prebuilt one. @throws ERR_ADDON where there is none */
export function addonPath(): string {
  try {
    return ofLibc(find.resolve(packageRoot))
  } catch (error) {
    const elsewhere = process.env.LOWRANK_PREBUILD
    if (elsewhere) throw unfit(`LOWRANK_PREBUILD names ${elsewhere}, which holds none`, error)
    throw unfit(`the prebuilt ones are for ${prebuilt().join(', ') || 'no platform, none is installed'}`, error)
  }
}

const MUSL_LOADERS = ['x86_64', 'aarch64'].map(name => `/lib/ld-musl-${name}.so.1`)

/** node-gyp-build looks for musl on Alpine alone; elsewhere it is what this Node runs on that decides. */
function ofLibc(path: string): string {
  const musl = path.replace(/\.glibc\.node$/, '.musl.node')
  // The loader may be there beside that of glibc, and only asking Node, which is slow, tells.
  const isPossible = musl !== path && existsSync(musl) && MUSL_LOADERS.some(file => existsSync(file))
  return isPossible && platform().libc === 'musl' ? musl : path
}

function unfit(reason: string, cause: unknown): LowrankError {
  const { name, libc, glibc } = platform()
  const where = [name, libc === null ? '' : `${libc}${glibc === null ? '' : ` ${glibc}`}`, `Node ${process.version}`]
  return new LowrankError(
    'ERR_ADDON',
    `addon: none fits this machine (${where.filter(Boolean).join(', ')}): ${reason}; ` +
      'build it from source with "npx lowrank build", which says what it needs',
    { cause },
  )
}

/** Platforms that prebuilt addons are here for, e.g. `linux-x64 glibc`. */
function prebuilt(): string[] {
  const root = join(packageRoot, 'prebuilds')
  if (!existsSync(root)) return []
  const folders = readdirSync(root, { withFileTypes: true }).filter(entry => entry.isDirectory())
  return folders.flatMap(({ name }) => {
    const files = readdirSync(join(root, name)).filter(file => file.endsWith('.node'))
    return files.map(file => `${name} ${/\.(glibc|musl)\./.exec(file)?.[1] ?? ''}`.trim())
  })
}
