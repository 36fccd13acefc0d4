// npm runs this after `npm install` and `npm ci` in the repository, and before `npm pack`: the addon, then TypeScript.
// A tarball carries what it makes, so nothing is built where a user installs it.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
if (process.env.LOWRANK_SKIP_BUILD === '1') {
  console.log('prepare: LOWRANK_SKIP_BUILD=1, nothing is built')
  process.exit(0)
}
if (!existsSync(new URL('../node_modules/cmake-js', import.meta.url))) {
  console.log('prepare: development dependencies are not installed, nothing is built')
  process.exit(0)
}
for (const script of [['scripts/build.mjs', '--addon'], ['scripts/build-ts.mjs']]) {
  const { status } = spawnSync(process.execPath, script, { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
