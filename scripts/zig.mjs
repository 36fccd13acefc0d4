// Where zig is: LOWRANK_ZIG, or the pinned version from the Python package ziglang, which carries it whole.

import { spawnSync } from 'node:child_process'
import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ZIG_VERSION = '0.17.1'

const folder = fileURLToPath(new URL(`../.cache/zig-${ZIG_VERSION}`, import.meta.url))

/** The program, downloaded with pip if `install` says so and it isn't here; undefined where there is none. */
export function findZig(install) {
  if (process.env.LOWRANK_ZIG) return process.env.LOWRANK_ZIG
  const zig = join(folder, 'ziglang/zig')
  if (existsSync(zig) || !install) return existsSync(zig) ? zig : undefined
  console.log(`zig: pip downloads ziglang ${ZIG_VERSION}, 100 MB`)
  const partial = `${folder}.partial-${process.pid}`
  const pip = ['-m', 'pip', 'install', '-q', '--disable-pip-version-check', '--root-user-action=ignore', '--no-deps']
  const { status } = spawnSync('python3', [...pip, '--target', partial, `ziglang==${ZIG_VERSION}`], {
    stdio: 'inherit',
  })
  if (status !== 0) {
    rmSync(partial, { recursive: true, force: true })
    return undefined
  }
  renameSync(partial, folder)
  return zig
}
