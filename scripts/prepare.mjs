// npm runs this after `npm install` and `npm ci` in the repository, and whenever npx runs the repository's own command:
// the addon, then TypeScript. What is newer than all its sources is left alone.

import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const NATIVE = ['binding', 'core', 'cpu', 'cuda', 'CMakeLists.txt', 'scripts/build.mjs']
const TYPESCRIPT = ['lib', 'package.json', 'tsconfig.json', 'scripts/build-ts.mjs']

/** The latest change of a file, or of anything below a folder. */
function changed(path) {
  const full = join(root, path)
  const stats = statSync(full, { throwIfNoEntry: false })
  if (!stats) return Number.POSITIVE_INFINITY
  if (!stats.isDirectory()) return stats.mtimeMs
  const below = readdirSync(full, { recursive: true }).map(name => statSync(join(full, name)).mtimeMs)
  return Math.max(stats.mtimeMs, ...below)
}

const fresh = (output, sources) =>
  existsSync(join(root, output)) && statSync(join(root, output)).mtimeMs >= Math.max(...sources.map(changed))

if (process.env.LOWRANK_SKIP_BUILD === '1') {
  console.log('prepare: LOWRANK_SKIP_BUILD=1, nothing is built')
  process.exit(0)
}
if (!existsSync(new URL('../node_modules/cmake-js', import.meta.url))) {
  console.log('prepare: development dependencies are not installed, nothing is built')
  process.exit(0)
}
for (const [script, output, sources] of [
  [['scripts/build.mjs', '--addon'], 'build/Release/lowrank.node', NATIVE],
  [['scripts/build-ts.mjs'], 'dist/.tsbuildinfo', TYPESCRIPT],
]) {
  if (fresh(output, sources)) continue
  const { status } = spawnSync(process.execPath, script, { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
  // Neither tool writes a file whose content would be the same.
  utimesSync(join(root, output), new Date(), new Date())
}
