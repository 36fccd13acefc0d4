// The built addon needs nothing of the machine but the C library, and loads with or without an NVIDIA driver.

import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { native } from '../../lib/native.ts'

const BUILT = join(packageRoot, 'build/Release/lowrank.node')
const SYSTEM = /^(linux-vdso|ld-linux[\w-]*|libc|libm|libdl|librt|libpthread)\.so/

function output(program: string, ...args: string[]): string | undefined {
  try {
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  } catch {
    return undefined
  }
}

test('the addon links to the C library alone', () => {
  const text = existsSync(BUILT) && process.platform === 'linux' ? output('ldd', BUILT) : undefined
  if (text === undefined) return console.log('skip: no Linux build to look at, or no ldd')
  const libraries = text
    .trim()
    .split('\n')
    .map(line => line.trim().split(' ')[0]!.split('/').at(-1)!)
  assert.ok(libraries.length > 1)
  assert.equal(
    libraries.filter(name => !SYSTEM.test(name)),
    [],
  )
})

test('the addon exports nothing but what Node looks for', () => {
  const text = existsSync(BUILT) ? output('nm', '-D', '--defined-only', BUILT) : undefined
  if (text === undefined) return console.log('skip: no build to look at, or no nm')
  const names = text
    .trim()
    .split('\n')
    .map(line => line.split(' ').at(-1)!)
  assert.equal(names.sort(), ['napi_register_module_v1', 'node_api_module_get_api_version_v1'])
})

test('the addon says which CUDA devices there are, or why there is none', () => {
  const { cuda } = native.info()
  if (cuda.count > 0) {
    assert.is(cuda.devices?.length, cuda.count)
    for (const { capability, memory } of cuda.devices!) assert.ok(/^\d+\.\d+$/.test(capability) && memory > 0)
  } else {
    assert.ok(cuda.reason.length > 10, 'no device, and no reason')
  }
  if (!cuda.built) assert.match(cuda.reason, 'LOWRANK_CUDA=1')
  else assert.ok(cuda.runtime! >= 12000)
})

test('a CUDA device that is not there is an error with a reason', () => {
  const { cuda } = native.info()
  try {
    native.openDevice('cuda', cuda.count)
    assert.unreachable()
  } catch (error) {
    const { code, message } = error as { code: string; message: string }
    assert.is(code, 'ERR_DEVICE')
    assert.match(message, cuda.count ? `of ${cuda.count} available` : cuda.reason)
  }
})

test.run()
