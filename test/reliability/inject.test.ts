// A disk that fails at any change: a coded error or a run that goes on, nothing lost, nothing left behind. A slice of
// what `npm run test:faults` does whole.
// timeout: 600

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { referenceOf } from '../../lib/hub/reference.ts'
import { watchChanges } from './fileSystem.ts'
import { faultEverywhere } from './inject.ts'
import { enterWorld } from './kill.ts'
import { CASES } from './world.ts'

const { dir, leave } = await enterWorld()
test.after(leave)

const SLICES: [name: string, every: number][] = [
  ['over an earlier run', 23],
  ['epochs and steps', 19],
  ['all weights', 37],
  ['from an adapter', 41],
]

for (const [name, every] of SLICES)
  test(`${name}: EIO, ENOSPC, EACCES or EMFILE at every ${every}th change or read`, async () => {
    const one = CASES.find(each => each.name === name)!
    const { faults, went, ended, problems } = await faultEverywhere(dir, one, every, Date.now() % every)
    assert.equal(problems, [])
    console.log(`${name}: ${faults} faults, ${went} runs went on, ${ended} ended with a coded error`)
    assert.ok(faults > 8 && went > 0 && ended > 0)
  })

test('a base that cannot be read when the results are written is a coded error', async () => {
  const base = join(dir, 'encoder')
  const stop = watchChanges(
    base,
    ({ name, path }) => {
      if (name === 'read' && path.endsWith('.safetensors'))
        throw Object.assign(new Error('EMFILE: injected'), { code: 'EMFILE' })
    },
    { reads: true },
  )
  const error = await referenceOf(base)
    .catch((thrown: unknown) => thrown)
    .finally(stop)
  assert.is((error as { code: string }).code, 'ERR_CONFIG')
})

test.run()
