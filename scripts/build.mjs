// Builds with cmake-js: `node scripts/build.mjs [--addon] [--cuda] [--sanitize] [--werror]`. --addon: the addon alone,
// not what only tests need. Configures each time, so that new settings take effect, and compiles what changed.
// Sanitized objects live in build-sanitize/. Works in a clone and where the package is installed (`lowrank build`).

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cmakeJs, dropForeignCache, lacking } from './toolchain.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const sanitize = process.argv.includes('--sanitize')
const out = sanitize ? 'build-sanitize/build' : 'build'

const lacks = lacking()
if (lacks.length) {
  for (const { what, cure } of lacks) console.error(`build: there is no ${what}; ${cure}`)
  process.exit(1)
}
dropForeignCache(root, join(root, out))

const options = ['--out', out, '-B', 'Release', '--log-level', process.env.LOWRANK_BUILD_LOG ?? 'warn']
const onOff = flag => (process.argv.includes(flag) ? 'ON' : 'OFF')
const settings = [`--CDLOWRANK_SANITIZE=${onOff('--sanitize')}`, `--CDLOWRANK_WERROR=${onOff('--werror')}`]
const env = {
  ...process.env,
  CMAKE_BUILD_PARALLEL_LEVEL: process.env.CMAKE_BUILD_PARALLEL_LEVEL ?? String(availableParallelism()),
}
if (process.argv.includes('--cuda')) env.LOWRANK_CUDA = '1'

const target = process.argv.includes('--addon') ? ['--target', 'lowrank'] : []
for (const step of [
  ['configure', ...settings],
  ['build', ...target],
]) {
  const { status } = spawnSync(process.execPath, [cmakeJs(), ...step, ...options], { cwd: root, stdio: 'inherit', env })
  if (status !== 0) {
    console.error('build: failed; it needs CMake 3.22, make or ninja, a C++17 compiler, and CUDA 12 if asked for')
    process.exit(status ?? 1)
  }
}
if (!existsSync(join(root, out, 'Release/lowrank.node'))) {
  console.error(`build: ${out}/Release/lowrank.node was not made`)
  process.exit(1)
}
