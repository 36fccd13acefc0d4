// timeout: 600
// Prebuilt addons: what they ask of a machine, and whether the one for arm64 computes.

import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { prebuiltFile, TARGETS, unpackable } from './support.ts'

interface Libraries {
  problemsOf(file: string, target: string): string[]
}
const scripts = pathToFileURL(join(packageRoot, 'scripts/')).href
const { problemsOf } = (await import(`${scripts}check-libraries.mjs`)) as Libraries
const file = (target: string) => join(packageRoot, prebuiltFile(target))
const reason = unpackable() ?? (spawnSync('readelf', ['--version']).status === 0 ? undefined : 'no readelf')

test('prebuilt addons ask for the C library alone, glibc 2.28 or older or musl', () => {
  if (reason !== undefined) return console.log(`skip: ${reason}`)
  for (const target of TARGETS) assert.equal(problemsOf(file(target), target), [], target)
})

test('the check sees newer symbols, other libraries and the wrong processor', () => {
  const libc = process.report.getReport() as { header: { glibcVersionRuntime?: string } }
  if (reason !== undefined || process.platform !== 'linux') return console.log(`skip: ${reason ?? 'not Linux'}`)
  assert.match(problemsOf(file('linux-arm64-glibc'), 'linux-x64-glibc').join(), 'not for x64')
  // Node itself needs libstdc++, and what it is linked with there has versions of its own.
  const problems = problemsOf(process.execPath, `linux-${process.arch}-glibc`).join()
  if (libc.header.glibcVersionRuntime) assert.match(problems, /it needs libstdc|is of GLIBCXX|is of CXXABI/)
})

// LOWRANK_NODE_ARM64 names an arm64 Node; with qemu-user, it runs here.
test('the addon for arm64 loads and passes the self-test', () => {
  const node = process.env.LOWRANK_NODE_ARM64
  if (reason !== undefined) return console.log(`skip: ${reason}`)
  if (!node || !existsSync(node)) return console.log('skip: LOWRANK_NODE_ARM64 names no arm64 Node')
  const main = join(packageRoot, 'dist/lib/cli/main.js')
  const env = { ...process.env, PREBUILDS_ONLY: '1', LOWRANK_THREADS: '1' }
  const command =
    process.arch === 'arm64' ? [node] : ['qemu-aarch64', '-L', process.env.LOWRANK_ARM64_ROOT ?? '/', node]
  const text = execFileSync(command[0]!, [...command.slice(1), main, 'doctor', '--json'], { env, encoding: 'utf8' })
  const found = JSON.parse(text.trim().split('\n').at(-1)!)
  assert.is(found.platform, 'linux-arm64')
  assert.ok(found.addon.path.endsWith('linux-arm64/lowrank.glibc.node'))
  assert.ok(found.ok, JSON.stringify(found.selfTest))
})

test.run()
