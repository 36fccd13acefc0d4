// What a checkpoint says of a run, read from files that were tampered with.

import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import { random } from '../../lib/random.ts'
import { readCheckpoint } from '../../lib/train/checkpoint.ts'
import { type Origin, originOf } from '../../lib/train/fingerprint.ts'
import { writeManifest } from '../../lib/train/manifest.ts'
import { resolveTrainSettings } from '../../lib/train/settings.ts'
import { freshState, parseState, type RunState, stringifyState } from '../../lib/train/state.ts'
import { train } from '../../lib/train/train.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { sequences, tinyLora, tinyModel } from './support.ts'

const MUTATIONS = 1000
const STRANGE = [null, -1, 0.5, 1e300, '', 'NaN', 'a', [], {}, [[]], true, '__proto__']

const state: RunState = {
  ...freshState(),
  step: 4,
  best: { step: 2, value: 0.5 },
  history: [
    { kind: 'step', step: 1, epoch: 0.1, loss: 1, gradNorm: 2, lr: 0.1 },
    {
      kind: 'evaluation',
      when: 'epoch',
      split: 'validation',
      step: 4,
      epoch: 1,
      loss: Number.NaN,
      metrics: { accuracy: 0.5 },
      seconds: 1,
      samples: 3,
    },
  ],
}
const origin: Origin = { instructionSet: 'x', device: 'cpu', data: 'a', model: 'b', method: 'c', settings: { lr: 1 } }

/** Replaces, removes or doubles one value somewhere in a plain object. */
function mutate(value: unknown, rng: ReturnType<typeof random>): unknown {
  if (typeof value !== 'object' || value === null || rng.below(4) === 0) return STRANGE[rng.below(STRANGE.length)]
  const keys = Object.keys(value)
  const key = keys[rng.below(Math.max(1, keys.length))]
  if (key === undefined) return STRANGE[rng.below(STRANGE.length)]
  const copy = (Array.isArray(value) ? [...value] : { ...value }) as Record<string, unknown>
  if (rng.below(5) === 0) delete copy[key]
  else copy[key] = mutate(copy[key], rng)
  return copy
}

/** Whether it went well; anything but a coded error fails the test. */
function coded(error: unknown, what: string): void {
  assert.ok(error instanceof LowrankError && error.code === 'ERR_CHECKPOINT', `${what}: ${error}`)
}

test('a mutated state is a state or a coded error', () => {
  const rng = random(Date.now() % 1e6, 'states')
  let refused = 0
  for (let i = 0; i < MUTATIONS; i++) {
    const text = rng.below(10) ? JSON.stringify(mutate(JSON.parse(stringifyState(state)), rng)) : '{"step": 1'
    try {
      const { step, history } = parseState(text)
      assert.ok(Number.isSafeInteger(step) && Array.isArray(history), text)
    } catch (error) {
      coded(error, text)
      refused++
    }
  }
  assert.ok(refused > MUTATIONS / 2, `${refused} of ${MUTATIONS} refused`)
})

test('a mutated manifest whose own hash is right is a manifest or a coded error', async () => {
  const rng = random(Date.now() % 1e6, 'manifests')
  const folder = join(temporaryFolder(), 'checkpoint-4')
  mkdirSync(folder)
  writeFileSync(join(folder, 'state.json'), stringifyState(state))
  await writeManifest(folder, 4, origin)
  const path = join(folder, 'manifest.json')
  const { sha256: _, ...body } = JSON.parse(readFileSync(path, 'utf8'))
  assert.equal((await readCheckpoint(folder)).state, state)
  let refused = 0
  for (let i = 0; i < MUTATIONS / 5; i++) {
    const changed = mutate(body, rng) as object
    const sha256 = createHash('sha256').update(JSON.stringify(changed)).digest('hex')
    writeFileSync(path, JSON.stringify(typeof changed === 'object' ? { ...changed, sha256 } : changed))
    try {
      assert.is((await readCheckpoint(folder)).step, 4)
    } catch (error) {
      coded(error, JSON.stringify(changed))
      refused++
    }
  }
  assert.ok(refused > MUTATIONS / 20, `${refused} refused`)
  rmSync(folder, { recursive: true })
})

test('a large frozen weight is recognised by pieces of it', async () => {
  const model = tinyModel({}, { vocab_size: 12000 })
  const { tensor } = model.parameters.get('bert.embeddings.word_embeddings.weight')!
  const [method, data] = [tinyLora(model), { train: sequences(4) }]
  const settings = resolveTrainSettings(method, {}, { train: { length: 4 } })
  const identity = async () => (await originOf(model, method, data, settings, undefined)).model
  const first = await identity()
  assert.is(await identity(), first)
  const values = new Float32Array(await tensor.bytes())
  assert.ok(values.byteLength > 1 << 20)
  tensor.upload(values.map(x => x * 1.001))
  assert.is.not(await identity(), first)
  for (const at of [0, values.length - 1]) {
    tensor.upload(values.with(at, 7))
    assert.is.not(await identity(), first, `element ${at}`)
  }
  tensor.upload(values)
  assert.is(await identity(), first)
  model.dispose()
})

test('two runs of one adapter at once: the second is refused', async () => {
  const model = tinyModel()
  const adapter = tinyLora(model)
  const options = { epochs: 1 }
  const data = { train: sequences(20) }
  const first = train(adapter, data, options)
  await first.next()
  const error = await train(adapter, data, options)
    .next()
    .then(
      () => undefined,
      (error: unknown) => error as LowrankError,
    )
  assert.is(error?.code, 'ERR_OPTION')
  assert.match(error!.message, /in training already/)
  for await (const _ of first);
  for await (const _ of train(adapter, data, options));
})

test('weights that overflow in a step that is saved end the run, and are never saved', async () => {
  const model = tinyModel()
  const method = tinyLora(model)
  const outputDir = temporaryFolder()
  const data = { train: sequences(16) }
  const options = { epochs: 3, lr: 1e38, clip: 0, warmup: 0, outputDir, checkpointEvery: 1, batchSize: 16 }
  let error: LowrankError | undefined
  try {
    for await (const event of train(method, data, options)) assert.is.not(event.type, 'checkpoint')
  } catch (e) {
    error = e as LowrankError
  }
  assert.is(error?.code, 'ERR_OPTION')
  assert.match(error!.message, /no longer finite after step 1/)
  rmSync(outputDir, { recursive: true })
})

test.run()
