// Sources that use the system compile for musl too: `node scripts/check-musl.mjs`, after `npm run prebuilds`. Those
// that include nothing but C++ are the same for every C library; the whole addon for musl is made for a release.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { TARGETS } from './prebuild.mjs'
import { findZig } from './zig.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const SYSTEM = /^#\s*include <(?!stdint|cpuid|immintrin|arm_neon|napi)[\w/]+\.h>/m
const INCLUDED = ['.', 'node_modules/node-addon-api', 'node_modules/node-api-headers/include']

const sources = ['core', 'cpu', 'binding']
  .flatMap(folder => readdirSync(join(root, folder), { recursive: true }).map(file => `${folder}/${file}`))
  .filter(file => /\.(cpp|h)$/.test(file) && SYSTEM.test(readFileSync(join(root, file), 'utf8')))
const SILENT = ['pragma-once-outside-header', 'unused-const-variable', 'unused-function']
const zig = findZig(false)
if (!zig || sources.length === 0) {
  console.error(`check-musl: ${zig ? 'no source includes the system' : 'no zig; npm run prebuilds -- --install'}`)
  process.exit(1)
}
const target = ['-target', TARGETS['linux-x64-musl'].zig, ...INCLUDED.flatMap(name => ['-I', join(root, name)])]
// A header is compiled by itself.
const flags = [
  '-std=c++17',
  '-c',
  '-O0',
  '-Wall',
  '-Wextra',
  '-Werror',
  ...SILENT.map(name => `-Wno-${name}`),
  '-x',
  'c++',
]
const folder = mkdtempSync(join(tmpdir(), 'lowrank-musl-'))
const files = sources.map(file => join(root, file))
const { status } = spawnSync(zig, ['c++', ...target, ...flags, ...files], { cwd: folder, stdio: 'inherit' })
rmSync(folder, { recursive: true, force: true })
console.log(`check-musl: ${sources.join(', ')} ${status === 0 ? 'compile' : 'do not all compile'}`)
process.exit(status === 0 ? 0 : 1)
