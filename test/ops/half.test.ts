// Activations in bf16 on the CPU: every op, value and gradients, against f32 of the same rounded inputs, and one thread
// against three to the bit; on the instruction set that this machine has, and where the compiler alone made it.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { opCases } from '../../lib/check/cases.ts'
import { evaluateCase, judgeCase } from '../../lib/check/check.ts'
import { mixedCases } from '../../lib/check/mixed.ts'
import { native } from '../../lib/native.ts'
import { Device } from '../../lib/tensor.ts'

if (process.env.LOWRANK_ISA === undefined) {
  for (const isa of new Set(['portable', native.info().isa]))
    test(`ops in bf16 on ${isa}`, () => {
      const env = { ...process.env, LOWRANK_ISA: isa, LOWRANK_THREADS: '3' }
      const args = [...process.execArgv, fileURLToPath(import.meta.url)]
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: 'utf8' })
      assert.is(status, 0, stdout + stderr)
    })
} else {
  const cpu = Device.get('cpu')
  for (const opCase of [...opCases('small'), ...opCases('large'), ...mixedCases()])
    test(opCase.name, async () => {
      const before = native.live()
      native.setThreads(3)
      const { ok, share, error } = await judgeCase(cpu, 'cpu bf16', opCase)
      assert.ok(ok, error ?? `${share} of what is allowed`)
      const many = await evaluateCase(cpu, opCase, 'bf16')
      native.setThreads(1)
      assert.equal(await evaluateCase(cpu, opCase, 'bf16'), many, 'threads change bits')
      assert.is(native.live(), before, 'every tensor is freed')
    })
}

test.run()
