import { copyFileSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import { readPickle } from '../../lib/io/pickle.ts'
import { openCheckpoint, openTorchFile } from '../../lib/io/safetensors.ts'
import { temporaryFolder } from '../support/temporary.ts'

const golden = (name: string) => fileURLToPath(new URL(`../golden/io/${name}`, import.meta.url))

function inFolder(run: (folder: string) => void): void {
  const folder = temporaryFolder()
  try {
    run(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

function refused(run: () => unknown, code: string, message: RegExp): void {
  try {
    run()
  } catch (error) {
    assert.instance(error, LowrankError)
    assert.is((error as LowrankError).code, code, (error as Error).message)
    assert.match((error as Error).message, message)
    return
  }
  assert.unreachable(`expected ${code}`)
}

test('a file of torch.save is read in place', () => {
  const file = openTorchFile(golden('state.bin'))
  const ramp = [0, 1, 2, 3, 4, 5]
  assert.equal([...file.readF32('weight')], [1, -2, 0.5, 3])
  assert.equal([...file.readF32('tied')], [1, -2, 0.5, 3])
  assert.equal(file.info('weight').shape, [2, 2])
  assert.equal([...file.readF32('bias')], [0.25, -1])
  assert.equal([...file.readF32('rows')], [4, 5, 6, 7, 8, 9, 10, 11])
  for (const name of ['half', 'brain', 'double']) assert.equal([...file.readF32(name)], ramp, name)
  assert.equal([...file.readF32('parameter')], [1, 1, 1])
  assert.equal([...file.readF32('scalar')], [7])
  assert.equal([file.info('scalar').shape, file.info('empty').shape], [[], [0, 3]])
  assert.equal([file.info('ids').dtype, file.info('mask').dtype], ['I64', 'BOOL'])
  assert.not.ok(file.has('steps'))
  const { position, bytes } = file.locate('rows')
  const all = readFileSync(golden('state.bin'))
  assert.is(all.readFloatLE(position), 4)
  assert.is(bytes, 32)
  file.close()
})

test('a folder without safetensors is opened by its pytorch_model.bin, whole or in shards', () =>
  inFolder(folder => {
    copyFileSync(golden('state.bin'), join(folder, 'pytorch_model.bin'))
    const whole = openCheckpoint(folder)
    assert.ok(whole.has('bias'))
    whole.close()
    rmSync(join(folder, 'pytorch_model.bin'))
    copyFileSync(golden('state.bin'), join(folder, 'pytorch_model-00001-of-00001.bin'))
    const index = { weight_map: { bias: 'pytorch_model-00001-of-00001.bin' } }
    writeFileSync(join(folder, 'pytorch_model.bin.index.json'), JSON.stringify(index))
    const shards = openCheckpoint(folder)
    assert.equal(shards.names(), ['bias'])
    assert.equal([...shards.readF32('bias')], [0.25, -1])
    shards.close()
  }))

test('what is no weights is refused by name', () => {
  refused(() => openTorchFile(golden('turned.bin')), 'ERR_UNSUPPORTED', /"turned" \[4,3\] has the strides \[1,4\]/)
  refused(() => openTorchFile(golden('legacy.bin')), 'ERR_UNSUPPORTED', /before 1\.6/)
  refused(() => openTorchFile(golden('module.bin')), 'ERR_UNSUPPORTED', /torch\.nn\.modules\.linear\.Linear/)
  const evil = Buffer.from('cposix\nsystem\n(U\x04evil\x85R.', 'latin1')
  refused(() => readPickle('x', evil, new Set()), 'ERR_UNSUPPORTED', /posix\.system.*nothing was run/)
})

test('mutated and shortened files are coded errors', () =>
  inFolder(folder => {
    const whole = readFileSync(golden('state.bin'))
    const path = join(folder, 'x.bin')
    let state = 12345
    const random = (below: number) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0
      return Math.floor((state / 2 ** 32) * below)
    }
    for (let i = 0; i < 1000; i++) {
      let bytes = Buffer.from(whole)
      if (i % 3 === 0) bytes = bytes.subarray(0, random(bytes.length))
      else
        for (let k = random(4); k >= 0; k--)
          bytes[i % 3 === 1 ? random(bytes.length) : bytes.length - 1 - random(1200)] = random(256)
      writeFileSync(path, bytes)
      try {
        const file = openTorchFile(path)
        for (const name of file.names()) file.read(name)
        file.close()
      } catch (error) {
        if (!(error instanceof LowrankError)) throw error
      }
    }
  }))

test.run()
