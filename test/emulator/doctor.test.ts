// `doctor --kernels` on the emulator: what it runs passes, and what is wrong is told.
// timeout: 600

import { existsSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const { packageRoot } = await import('../../lib/io/package.ts')
const FOLDER = join(process.env.LOWRANK_PREBUILD ?? packageRoot, 'build/emulator')

if (existsSync(join(FOLDER, 'build/Release/lowrank_emu.node'))) {
  process.env.LOWRANK_PREBUILD = FOLDER
  await registerTests()
} else test('doctor on the emulator', () => console.log('skip: lowrank_emu.node is not built'))

async function registerTests(): Promise<void> {
  const { checkKernels, judgeCase } = await import('../../lib/cli/kernels/check.ts')
  const { checkConformance, conformanceProgram } = await import('../../lib/cli/kernels/conformance.ts')
  const { native } = await import('../../lib/native.ts')
  const { add } = await import('../../lib/ops/add.ts')
  const { scale } = await import('../../lib/ops/scale.ts')
  const { Device } = await import('../../lib/tensor.ts')
  const cuda = Device.get('cuda:0')

  for (const filter of ['add', 'layerNorm', 'loraLinear without', 'crossEntropy weighted'])
    test(`ops named ${filter} pass, in three precisions and against differences`, async () => {
      const live = native.live()
      const ways = new Set<string>()
      for await (const found of checkKernels(cuda, filter)) {
        assert.ok(found.ok, `${found.op}, ${found.against}: ${found.error ?? found.share}`)
        ways.add(found.against)
      }
      assert.equal([...ways].sort(), ['cpu bf16', 'cpu f32', 'cpu f64', 'differences'])
      assert.is(native.live(), live)
    })

  test('an op that differs between devices fails, and so does one that throws', async () => {
    const data = Float64Array.of(1, -2, 3)
    const off = await judgeCase(cuda, 'cpu f32', {
      name: 'wrong',
      inputs: [{ shape: [3], data }],
      run: ([x]) => (x!.device === cuda ? scale(x!, 1.001) : scale(x!, 1)),
    })
    assert.not(off.ok)
    assert.ok(off.share > 100)
    const thrown = await judgeCase(cuda, 'cpu f32', {
      name: 'throws',
      inputs: [
        { shape: [3], data },
        { shape: [1, 3], data },
      ],
      run: ([a, b]) => add(a!, b!),
    })
    assert.not(thrown.ok)
    assert.match(thrown.error ?? '', /add/)
  })

  test('the conformance program is run where there is one', () => {
    assert.is(checkConformance(cuda), undefined, conformanceProgram())
    const found = checkConformance(cuda, join(FOLDER, 'emulator_conformance'))!
    assert.ok(found.passed >= 42, `${found.passed} cases`)
    assert.is(found.failed, 0)
    const script = join(mkdtempSync(join(tmpdir(), 'lowrank-doctor-')), 'program')
    writeFileSync(script, '#!/bin/sh\necho "FAIL mma: wrong"\necho "1 passed, 1 failed, 0 skipped"\nexit 1\n', {
      mode: 0o755,
    })
    assert.equal(checkConformance(cuda, script), { passed: 1, failed: 1, skipped: 0, output: ['FAIL mma: wrong'] })
    writeFileSync(script, '#!/bin/sh\nexit 9\n', { mode: 0o755 })
    assert.is(checkConformance(cuda, script)!.failed, 1, 'a program that ends early has failed')
  })
}

test.run()
