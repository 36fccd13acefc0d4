// Makes the prebuilt addons of a release, each cross-compiled by zig against an old C library:
// `node scripts/prebuild.mjs [--install] [--check] [TARGET…]`. What was made of the present sources is left alone.
// --install: download zig where it is missing; --check: make nothing, fail where one is missing or old.
// LOWRANK_PREBUILD_TARGETS names targets to be content with, for tests of less than a release.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import prebuildify from 'prebuildify'
import { checkLibraries } from './check-libraries.mjs'
import { dropForeignCache } from './toolchain.mjs'
import { findZig, ZIG_VERSION } from './zig.mjs'

/** What a release carries. glibc 2.28 is that of RHEL 8 and of Node's own binaries. */
export const TARGETS = {
  'linux-x64-glibc': { zig: 'x86_64-linux-gnu.2.28', processor: 'x86_64' },
  'linux-arm64-glibc': { zig: 'aarch64-linux-gnu.2.28', processor: 'aarch64' },
  'linux-x64-musl': { zig: 'x86_64-linux-musl', processor: 'x86_64' },
}
const root = fileURLToPath(new URL('..', import.meta.url))
const RECORD = join(root, 'prebuilds/sources.json')
const SOURCES = ['binding', 'core', 'cpu', 'cuda', 'CMakeLists.txt', 'scripts/zig.cmake', 'scripts/node-gyp.mjs']

/** The file of a target, as prebuildify names it and node-gyp-build looks for it. */
export function prebuiltFile(target) {
  const [platform, arch, libc] = target.split('-')
  return `prebuilds/${platform}-${arch}/lowrank.${libc}.node`
}

/** A digest of all that a prebuilt addon is made of; CUDA kernels are no part of it. */
function sourcesDigest() {
  const hash = createHash('sha256').update(ZIG_VERSION)
  for (const source of SOURCES) {
    const files = /\./.test(source) ? [''] : readdirSync(join(root, source), { recursive: true }).sort()
    for (const file of files.filter(name => name === '' || /\.(h|cpp|inc)$/.test(name)))
      hash.update(`${source}/${file}\n`).update(readFileSync(join(root, source, file)))
  }
  return hash.digest('hex')
}

const record = () => (existsSync(RECORD) ? JSON.parse(readFileSync(RECORD, 'utf8')) : {})

const wanted = () => process.env.LOWRANK_PREBUILD_TARGETS?.split(' ') ?? Object.keys(TARGETS)

/** Targets whose file is missing or was made of other sources. */
export function staleTargets(targets = wanted()) {
  const digest = sourcesDigest()
  const made = record()
  return targets.filter(target => made[target] !== digest || !existsSync(join(root, prebuiltFile(target))))
}

async function make(target, zig) {
  const [platform, arch, libc] = target.split('-')
  const cwd = join(root, 'build-prebuild', target)
  const before = sourcesDigest()
  mkdirSync(cwd, { recursive: true })
  dropForeignCache(root, join(cwd, 'build'))
  process.env.LOWRANK_ZIG = zig
  process.env.LOWRANK_ZIG_TARGET = TARGETS[target].zig
  process.env.LOWRANK_ZIG_PROCESSOR = TARGETS[target].processor
  const nodeGyp = `"${process.execPath}" "${join(root, 'scripts/node-gyp.mjs')}"`
  const names = { name: 'lowrank', platform, arch, libc, tagLibc: true, napi: true }
  await promisify(prebuildify)({ ...names, cwd, out: root, nodeGyp, shell: true, targets: [] })
  checkLibraries(join(root, prebuiltFile(target)), target)
  writeFileSync(`${RECORD}.new`, `${JSON.stringify({ ...record(), [target]: before }, null, 2)}\n`)
  renameSync(`${RECORD}.new`, RECORD)
  console.log(`prebuild: ${prebuiltFile(target)}`)
}

async function main() {
  const args = process.argv.slice(2)
  const named = args.filter(arg => !arg.startsWith('--'))
  const unknown = [...named, ...wanted()].filter(name => !TARGETS[name])
  if (unknown.length) throw new Error(`${unknown} is unknown; there are ${Object.keys(TARGETS).join(', ')}`)
  const stale = staleTargets(named.length ? named : undefined)
  if (!stale.length) return console.log('prebuild: every prebuilt addon is of the present sources')
  if (args.includes('--check')) throw new Error(`${stale.join(', ')} missing or old; npm run prebuilds -- --install`)
  const zig = findZig(args.includes('--install'))
  if (!zig) throw new Error(`no zig ${ZIG_VERSION}; npm run prebuilds -- --install gets it with pip`)
  for (const target of stale) await make(target, zig)
}

if (process.argv[1] === fileURLToPath(import.meta.url))
  await main().catch(error => {
    console.error(`prebuild: ${error.message}`)
    process.exitCode = 1
  })
