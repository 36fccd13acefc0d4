// `lowrank build`: the addon from source, in this package's own folder.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { addonPath } from '../../addon.ts'
import { check } from '../../errors.ts'
import { packageRoot } from '../../io/package.ts'
import type { Settings } from '../options/options.ts'
import type { Console } from '../terminal/console.ts'

/** Compiles and links; what CMake and the compiler say goes to standard error. @throws ERR_ADDON where that fails */
export async function buildCommand(settings: Settings, console: Console): Promise<number> {
  const script = join(packageRoot, 'scripts', 'build.mjs')
  check(existsSync(script), 'ERR_ADDON', () => `build: ${script} is missing; reinstall the package`)
  const jobs = settings.threads === undefined ? {} : { CMAKE_BUILD_PARALLEL_LEVEL: String(settings.threads) }
  console.note(`building the addon in ${packageRoot}; LOWRANK_CUDA=1 includes the CUDA backend`)
  const { status } = spawnSync(process.execPath, [script, '--addon'], {
    stdio: ['ignore', 2, 2],
    env: { ...process.env, ...jobs },
  })
  check(status === 0, 'ERR_ADDON', () => 'build: there is no addon; the lines above say what is missing or wrong')
  const path = addonPath()
  console.event({ type: 'summary', addon: path })
  console.line(`built ${path}; "npx lowrank doctor" tests it`)
  return 0
}
