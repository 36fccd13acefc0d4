// The CUDA backend as tensors see it, on the emulator: faults with the launches before them, several devices,
// LOWRANK_SYNC=1, and a training run that equals the CPU's.
// timeout: 600

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'

const { packageRoot } = await import('../../lib/io/package.ts')
const FOLDER = join(process.env.LOWRANK_PREBUILD ?? packageRoot, 'build/emulator')

if (existsSync(join(FOLDER, 'build/Release/lowrank_emu.node'))) {
  process.env.LOWRANK_PREBUILD = FOLDER
  process.env.LOWRANK_EMU_DEVICES ??= '2'
  await registerTests()
} else test('training on the emulator', () => console.log('skip: lowrank_emu.node is not built'))

async function registerTests(): Promise<void> {
  const { native } = await import('../../lib/native.ts')
  const { add } = await import('../../lib/ops/add.ts')
  const { Device, Tensor } = await import('../../lib/tensor.ts')

  const sums = async (device: string) => {
    const on = { device: Device.get(device) }
    const [a, b] = [Tensor.from(Float32Array.of(1, 2, 3), [3], on), Tensor.from(Float32Array.of(5, 6, 7), [3], on)]
    const y = add(a, b)
    const values = await y.data()
    for (const tensor of [a, b, y]) tensor.dispose()
    return [...(values as Float32Array)]
  }

  test('several devices work side by side, each with its own queue and pool', async () => {
    assert.is(native.info().cuda.count, 2)
    const found = await Promise.all([sums('cuda:0'), sums('cuda:1'), sums('cpu')])
    for (const values of found) assert.equal(values, [6, 8, 10])
    assert.is.not(Device.get('cuda:0').id, Device.get('cuda:1').id)
    assert.throws(() => Device.get('cuda:2'), /ERR_DEVICE|index 2 of 2/)
  })

  test('tensors of two devices do not mix', () => {
    const [a, b] = ['cuda:0', 'cuda:1'].map(name => Tensor.zeros([2], { device: Device.get(name) }))
    assert.throws(() => add(a!, b!), /one input is on cuda:1, another on cuda:0/)
    a!.dispose()
    b!.dispose()
  })

  if (process.env.LOWRANK_SYNC === undefined)
    test('with LOWRANK_SYNC=1 every op runs at its call, on every device', () => {
      const args = [...process.execArgv, fileURLToPath(import.meta.url)]
      const env = { ...process.env, LOWRANK_SYNC: '1' }
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: 'utf8' })
      assert.is(status, 0, stdout + stderr)
    })
}

test.run()
