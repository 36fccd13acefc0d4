// What prebuildify calls in place of node-gyp, in the folder of one target: cmake-js builds the addon there with zig.

import { spawnSync } from 'node:child_process'
import { existsSync, rmSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cmakeJs } from './toolchain.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const out = join(process.cwd(), 'build')
const toolchain = join(root, 'scripts/zig.cmake')
// prebuildify moves the addon away; that of an earlier run that failed would pass for this one's.
rmSync(join(out, 'Release'), { recursive: true, force: true })

const options = ['--out', relative(root, out), '-B', 'Release', '--log-level', process.env.LOWRANK_BUILD_LOG ?? 'warn']
const settings = [`--CDCMAKE_TOOLCHAIN_FILE=${toolchain}`, '--CDLOWRANK_CUDA=OFF']
// The compiler cache, where one is set up, does not know zig; and CUDA has no part in a prebuilt addon.
const { CMAKE_CXX_COMPILER_LAUNCHER, LOWRANK_CUDA, ...env } = process.env
for (const step of [
  ['configure', ...settings],
  ['build', '--target', 'lowrank'],
]) {
  const { status } = spawnSync(process.execPath, [cmakeJs(), ...step, ...options], { cwd: root, stdio: 'inherit', env })
  if (status !== 0) process.exit(status ?? 1)
}
if (!existsSync(join(out, 'Release/lowrank.node'))) {
  console.error(`node-gyp: ${out}/Release/lowrank.node was not made`)
  process.exit(1)
}
