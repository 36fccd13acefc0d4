// What a build does with what an earlier one left behind.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { temporaryFolder } from '../support/temporary.ts'

const folder = temporaryFolder()

const toolchain = pathToFileURL(join(packageRoot, 'scripts/toolchain.mjs')).href

/** What is left of a build folder with this cache, and what was said. */
function drop(cache: Readonly<Record<string, string>>): { left: boolean; said: string } {
  const build = join(folder, 'build')
  mkdirSync(build, { recursive: true })
  const entries = {
    CMAKE_HOME_DIRECTORY: folder,
    CMAKE_CACHEFILE_DIR: build,
    CMAKE_CXX_COMPILER: process.execPath,
    ...cache,
  }
  const lines = Object.entries(entries).map(([name, value]) => `${name}:INTERNAL=${value}`)
  writeFileSync(join(build, 'CMakeCache.txt'), `# made by CMake\n${lines.join('\n')}\n`)
  const code = `import { dropForeignCache } from '${toolchain}'; dropForeignCache('${folder}', '${build}')`
  const { stderr, status } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' })
  assert.is(status, 0, stderr)
  return { left: existsSync(build), said: stderr }
}

test('a cache of this folder stays', () => {
  assert.equal(drop({}), { left: true, said: '' })
})

test('a cache of another folder, or of a compiler that is gone, goes with its build', () => {
  const elsewhere = join(folder, 'elsewhere')
  for (const cache of [
    { CMAKE_HOME_DIRECTORY: elsewhere },
    { CMAKE_CACHEFILE_DIR: elsewhere },
    { CMAKE_CXX_COMPILER: join(elsewhere, 'g++') },
    { CMAKE_MAKE_PROGRAM: join(elsewhere, 'ninja') },
  ]) {
    const { left, said } = drop(cache)
    assert.is(left, false, JSON.stringify(cache))
    assert.match(said, elsewhere)
  }
})

test.run()
