// The kernels of 64-bit ARM under qemu-user: the native tests are cross-compiled beside the prebuilt addon and run with
// `few`, every NEON set against the f64 specification and by several numbers of threads. `node scripts/test-arm64.mjs`,
// after `npm run prebuilds`; LOWRANK_ARM64_ROOT: the folder with ARM's C library.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const PROGRAMS = ['gemm_test', 'ops_test']
const build = fileURLToPath(new URL('../build-prebuild/linux-arm64-glibc/build', import.meta.url))
const root = process.env.LOWRANK_ARM64_ROOT ?? '/usr/aarch64-linux-gnu'

function missing() {
  if (!existsSync(join(build, 'CMakeCache.txt'))) return 'no addon for arm64 was prebuilt here'
  if (process.arch === 'arm64') return undefined
  if (spawnSync('qemu-aarch64', ['--version']).status !== 0) return 'no qemu-aarch64'
  return existsSync(root) ? undefined : `no C library of arm64 in ${root}`
}

function run(program, ...args) {
  return spawnSync(program, args, { stdio: 'inherit' }).status === 0
}

const reason = missing()
if (reason !== undefined) {
  console.log(`skip: ${reason}`)
  console.log(`0 passed, 0 failed, ${PROGRAMS.length} skipped`)
  process.exit(0)
}
let failed = 0
if (!run('cmake', '--build', build, '-j', '2', '--target', ...PROGRAMS)) failed = PROGRAMS.length
else
  for (const name of PROGRAMS) {
    const program = join(build, 'test', name)
    const emulated = process.arch === 'arm64' ? [program] : ['qemu-aarch64', '-L', root, program]
    if (!run(...emulated, 'few')) failed++
  }
console.log(`${PROGRAMS.length - failed} passed, ${failed} failed, 0 skipped`)
process.exit(failed ? 1 : 0)
