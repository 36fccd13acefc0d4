// `doctor --kernels` on the emulator: what it runs passes, and what is wrong is told.
// timeout: 600

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ConformanceCheck } from '../../lib/check/conformance.ts'
import type { Check } from '../../lib/cli/commands/kernels.ts'

const { packageRoot } = await import('../../lib/io/package.ts')
const FOLDER = join(process.env.LOWRANK_PREBUILD ?? packageRoot, 'build/emulator')

if (existsSync(join(FOLDER, 'build/Release/lowrank_emu.node'))) {
  process.env.LOWRANK_PREBUILD = FOLDER
  await registerTests()
} else test('doctor on the emulator', () => console.log('skip: lowrank_emu.node is not built'))

async function registerTests(): Promise<void> {
  const { checkKernels, judgeCase } = await import('../../lib/check/check.ts')
  const { attempt } = await import('../../lib/check/attempt.ts')
  const { reportChecks } = await import('../../lib/cli/commands/kernels.ts')
  const { mixedCases, plainCases } = await import('../../lib/check/mixed.ts')
  const { checkConformance } = await import('../../lib/check/conformance.ts')
  const { createConsole } = await import('../../lib/cli/terminal/console.ts')
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

  test('quantised weights, optimizers, sampling and whole tiles pass', async () => {
    const live = native.live()
    const both = mixedCases().flatMap(each => [['cpu f32', each] as const, ['cpu bf16', each] as const])
    for (const [against, opCase] of [...both, ...plainCases().map(each => ['cpu f32', each] as const)]) {
      const { ok, share, error } = await judgeCase(cuda, against, opCase)
      assert.ok(ok, `${opCase.name}, ${against}: ${error ?? share}`)
    }
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

  test('instructions are checked by the addon itself, and every case passes', async () => {
    const found: ConformanceCheck[] = []
    for await (const check of checkConformance(cuda)) found.push(check)
    assert.ok(found.length >= 49, `${found.length} cases`)
    for (const { name, error, skipped } of found) assert.ok(!error && !skipped, `${name}: ${error ?? 'skipped'}`)
    assert.throws(() => native.conformanceCases(Device.get('cpu').id), /ERR_DEVICE|cpu has no cases/)
    assert.throws(
      () => native.runConformance(cuda.id, found.length),
      new RegExp(`case ${found.length} of ${found.length}`),
    )
  })

  test('a kernel that does not end, or that breaks the context, ends the checks', async () => {
    for await (const { name, lost } of checkConformance(cuda, 'wgmma', 0)) {
      assert.is(name, 'wgmma_all_widths')
      assert.is(lost, 'hung')
    }
    await cuda.synchronize()
    const fault = async () => {
      throw new Error('a fault')
    }
    assert.equal(await attempt(cuda, fault), { error: 'a fault' }, 'the device works again')
    const broken = { reset() {}, synchronize: fault } as unknown as typeof cuda
    assert.equal(await attempt(broken, fault), { error: 'a fault', lost: 'broken' })
  })

  test('the report names what failed, and says why it ended early', async () => {
    const checks: Check[] = [
      { kind: 'instruction', name: 'shuffle', result: 'ok', note: '' },
      { kind: 'instruction', name: 'mma', result: 'skipped', note: 'for other GPUs' },
      { kind: 'cpu f32', name: 'add', result: 'FAILED', note: 'a fault', lost: 'broken' },
    ]
    const [lines, warnings, events]: [string[], string[], object[]] = [[], [], []]
    const console = {
      ...createConsole({ json: true, quiet: true }),
      color: false,
      line: (text = '') => lines.push(text),
      warn: (text: string) => warnings.push(text),
      event: (record: object) => events.push(record),
    }
    assert.is(await reportChecks(cuda, Readable.from(checks), console), false)
    assert.match(lines[0]!, /^cuda:0 {2}CUDA emulator/)
    assert.match(lines[3]!, /^cpu f32 +add +FAILED {2}a fault$/)
    assert.is(lines[4], '1 checks passed, 1 failed, 1 are for other GPUs')
    assert.match(warnings.join(), /^add broke the context of the GPU/)
    assert.equal((events[0] as { failures: Check[] }).failures, [checks[2]])
  })
}

test.run()
