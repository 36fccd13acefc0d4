// A file that is cut while its tensors are on their way to a device.

import { closeSync, openSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import { Device, Tensor } from '../../lib/tensor.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { enqueue } from './work.ts'

const SIZE = 3 << 20

async function withFile(work: (path: string, file: number, target: Tensor) => Promise<void>): Promise<void> {
  const folder = temporaryFolder()
  const path = join(folder, 'weights')
  writeFileSync(path, new Uint8Array(Float32Array.from({ length: SIZE / 4 }, (_, i) => i % 1000).buffer))
  const file = openSync(path, 'r')
  const target = Tensor.zeros([SIZE / 4]).keep()
  try {
    await work(path, file, target)
  } finally {
    target.dispose()
    closeSync(file)
    rmSync(folder, { recursive: true })
  }
}

const range = (path: string, file: number) => ({ file, position: 0, bytes: SIZE, fileSize: statSync(path).size })

test('a region of several pieces arrives whole', async () => {
  await withFile(async (path, file, target) => {
    assert.is(target.uploadFile(range(path, file), 'f32'), true)
    const values = (await target.data()) as Float32Array
    assert.ok(values.every((x, i) => x === i % 1000))
  })
})

test('cut before the queue reads it: a coded error of the queue, not the end of the process', async () => {
  await withFile(async (path, file, target) => {
    enqueue(60)
    target.uploadFile(range(path, file), 'f32')
    truncateSync(path, 1 << 20)
    const error = await target.data().then(
      () => undefined,
      (error: unknown) => error,
    )
    assert.ok(error instanceof LowrankError && error.code === 'ERR_OPTION', String(error))
    assert.match(error.message, /it was cut while it was read/)
    Device.get('cpu').reset()
  })
})

test('cut before the call: both sizes are named', async () => {
  await withFile(async (path, file, target) => {
    const whole = range(path, file)
    truncateSync(path, 100)
    assert.throws(
      () => target.uploadFile(whole, 'f32'),
      (error: LowrankError) =>
        error.code === 'ERR_OPTION' && /had 3145728 bytes when opened, has 100/.test(error.message),
    )
  })
})

test.run()
