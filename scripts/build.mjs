// Builds with cmake-js: `node scripts/build.mjs [--addon] [--cuda] [--sanitize] [--werror]`. --addon: the addon alone,
// not what only tests need. Configures each time, so that new settings take effect, and compiles what changed.
// Sanitized objects live in build-sanitize/.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const require = createRequire(import.meta.url)

function cmakeJs() {
  try {
    return join(dirname(require.resolve('cmake-js/package.json')), 'bin/cmake-js')
  } catch {
    console.error('build: cmake-js is not installed; npm install cmake-js node-addon-api')
    process.exit(1)
  }
}

const sanitize = process.argv.includes('--sanitize')
const out = sanitize ? 'build-sanitize/build' : 'build'
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
