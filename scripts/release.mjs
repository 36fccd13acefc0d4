// Checks that a release can be made of this checkout and packs it: `npm run release`. Publishes nothing, but ends with
// the command that does. docs/releasing.md has the steps around it.

import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const { version, repository, homepage, bugs } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

function output(program, ...args) {
  const { status, stdout } = spawnSync(program, args, {
    cwd: root,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')} failed`)
  return stdout.trim()
}

/** What stands between this checkout and a release. */
function problems() {
  const found = []
  const changes = output('git', 'status', '--porcelain')
  if (changes) found.push(`files differ from the last commit:\n${changes}`)
  if (!readFileSync(join(root, 'CHANGELOG.md'), 'utf8').includes(`\n## ${version}`))
    found.push(`CHANGELOG.md has no section "## ${version}"`)
  if (output('git', 'tag', '--list', `v${version}`)) found.push(`there is a tag v${version} already; npm version first`)
  for (const [field, url] of Object.entries({ repository: repository.url, homepage, bugs: bugs.url }))
    if (/\bexample\.(org|com|net)\b/.test(url)) found.push(`package.json: ${field} is the placeholder ${url}`)
  return found
}

// A release carries every target, and what is tested must be what is published.
delete process.env.LOWRANK_PREBUILD_TARGETS
try {
  const found = problems()
  for (const problem of found) console.error(`release: ${problem}`)
  if (found.length) throw new Error(`${found.length} to mend before ${version}`)
  const folder = join(root, 'build-release')
  mkdirSync(folder, { recursive: true })
  const [{ filename, size }] = JSON.parse(output('npm', 'pack', '--json', '--pack-destination', folder))
  output(process.execPath, 'scripts/test.mjs', '--no-build', 'test/packaging')
  output(process.execPath, 'scripts/test-musl.mjs', '--install', '--demand')
  console.log(`build-release/${filename}, ${(size / 1e6).toFixed(2)} MB, is what was tested; publish it with`)
  console.log(`  npm publish build-release/${filename} --provenance --access public && git tag v${version}`)
} catch (error) {
  console.error(`release: ${error.message}`)
  process.exitCode = 1
}
