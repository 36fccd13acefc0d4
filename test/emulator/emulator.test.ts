// The emulator against itself: every function of cuda/ptx/ against a scalar definition, correct kernels under every
// schedule, and injected defects, which it has to notice.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'

const PROGRAMS = join(process.env.LOWRANK_PREBUILD ?? packageRoot, 'build/emulator')

/** Output of a program of the emulator, or undefined where it is not built. */
function output(name: string): string | undefined {
  const program = join(PROGRAMS, name)
  if (!existsSync(program)) {
    console.log(`skip: ${name} is not built`)
    return undefined
  }
  const { status, stdout, stderr } = spawnSync(program, { encoding: 'utf8', timeout: 240_000 })
  const failures = stdout.split('\n').filter(line => !/^(ok|miss)/.test(line))
  assert.is(status, 0, [...failures, stderr].join('\n'))
  return stdout
}

test('every function of cuda/ptx/ does what its definition says', () => {
  const text = output('emulator_conformance')
  if (text === undefined) return
  const [, passed, failed] = text.match(/(\d+) passed, (\d+) failed/)!
  assert.is(Number(failed), 0)
  assert.ok(Number(passed) >= 42, `${passed} cases`)
})

test('correct kernels pass under every schedule, and 41 injected defects are noticed', () => {
  const text = output('emulator_defects')
  if (text === undefined) return
  assert.match(text, '6 kernels sound, 41 defects caught, 2 known misses, 0 failed')
  const misses = [...text.matchAll(/^miss (\w+):/gm)].map(match => match[1])
  assert.equal(misses, ['SumNotAtomic', 'SumNoFence'])
})

test.run()
