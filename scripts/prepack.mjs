// npm runs this before it packs, and with --restore after. A tarball carries compiled TypeScript and, for every target
// of a release, a prebuilt addon made of the present sources, or there is no tarball. Its package.json has no scripts:
// they are of the repository, and npm would run `prepare` where a user installs from a folder or a fork.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const manifest = join(root, 'package.json')
const kept = join(root, '.package.json.unpacked')

/** Puts the repository's package.json back: after packing, or where a pack before this one was killed. */
function restore() {
  if (existsSync(kept)) renameSync(kept, manifest)
}

function strip() {
  const text = readFileSync(manifest, 'utf8')
  writeFileSync(kept, text)
  const { scripts, ...published } = JSON.parse(text)
  writeFileSync(`${manifest}.new`, `${JSON.stringify(published, null, 2)}\n`)
  renameSync(`${manifest}.new`, manifest)
}

restore()
if (process.argv.includes('--restore')) process.exit(0)
for (const script of [['scripts/prebuild.mjs', '--install'], ['scripts/build-ts.mjs']]) {
  // Of packing, standard output is for the name of the tarball.
  const { status } = spawnSync(process.execPath, script, { cwd: root, stdio: ['ignore', 2, 2] })
  if (status !== 0) {
    console.error(`prepack: ${script[0]} failed, so there is nothing to pack`)
    process.exit(status ?? 1)
  }
}
strip()
