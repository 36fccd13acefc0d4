// Bases stored as int8 and nf4: what is quantised, how far the logits move, and that training through them learns.

import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packExamples } from '../../lib/data/batches.ts'
import { sequenceClasses } from '../../lib/data/targets.ts'
import { native } from '../../lib/native.ts'
import { QUANTIZED } from '../../lib/ops/quantize.ts'
import { attach } from '../../lib/peft/attach.ts'
import { fullFineTuning } from '../../lib/peft/full.ts'
import { saveMerged } from '../../lib/peft/merged.ts'
import { scope, Tensor } from '../../lib/tensor.ts'
import { compare } from '../support/compare.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { eventsOf, runToEnd, sequences, tinyLora, tinyModel } from './support.ts'

const batch = packExamples(sequences(6), Int32Array.of(0, 1, 2, 3, 4, 5), { collate: sequenceClasses })

async function logitsOf(model: ReturnType<typeof tinyModel>): Promise<Float32Array> {
  const logits = scope(() => model.logits(batch))
  const data = (await logits.data()) as Float32Array
  logits.dispose()
  return data
}

/** Root mean square. */
const size = (values: Float32Array) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length)

for (const storage of QUANTIZED) {
  test(`${storage}: linear layers of the backbone are quantised, and nothing else`, () => {
    const model = tinyModel({ storage })
    for (const [name, { tensor, shape }] of model.parameters) {
      const isLayer = name.includes('.layer.') && shape.length === 2
      assert.is(tensor.dtype, isLayer ? storage : shape.length === 1 ? 'f32' : 'bf16', name)
    }
    const meta = tinyModel({ storage, device: 'meta' })
    assert.is(meta.bytes, model.bytes)
    for (const each of [model, meta]) each.dispose()
  })

  test(`${storage}: logits differ from those of f32 by the error of the weights`, async () => {
    const [model, exact] = [tinyModel({ storage }), tinyModel({ storage: 'f32' })]
    const expected = await logitsOf(exact)
    const error = size((await logitsOf(model)).map((v, i) => v - expected[i]!)) / size(expected)
    assert.ok(error > 0 && error < (storage === 'nf4' ? 0.25 : 0.03), `${error}`)
    for (const each of [model, exact]) each.dispose()
  })

  test(`${storage}: LoRA learns, and leaves the base alone`, async () => {
    const live = native.live()
    const model = tinyModel({ storage })
    const method = tinyLora(model, { targetModules: 'all-linear' })
    const weight = model.parameters.get('bert.encoder.layer.0.attention.self.query.weight')!
    const before = Buffer.from(await weight.tensor.bytes()).toString('hex')
    const data = { train: sequences(60), validation: sequences(20, 11) }
    const events = await runToEnd(method, data, { epochs: 6, batchSize: 8, lr: 1e-2, seed: 7 })
    const losses = eventsOf(events, 'epoch').map(({ loss }) => loss)
    assert.ok(losses.at(-1)! < 0.7 * losses[0]!, losses.join(', '))
    assert.is(Buffer.from(await weight.tensor.bytes()).toString('hex'), before)
    method.detach()
    model.dispose()
    assert.is(native.live(), live)
  })

  test(`${storage}: a run goes on in a process whose memory was used before`, async () => {
    const outputDir = temporaryFolder()
    const half = { outputDir, batchSize: 8, epochs: 1, seed: 7, checkpointEvery: 1 }
    for (const resume of [false, true]) {
      // What was freed is handed out again as it is.
      for (const used of Array.from({ length: 64 }, () =>
        Tensor.from(new Float32Array(4096).fill(resume ? 1.7 : -3), [4096]),
      ))
        used.dispose()
      const model = tinyModel({ storage }, { hidden_size: 8, intermediate_size: 24 })
      const events = await runToEnd(tinyLora(model), { train: sequences(16) }, { ...half, resume })
      assert.is(eventsOf(events, 'step').length, resume ? 0 : 2)
      model.dispose()
    }
  })

  test(`${storage}: merging gives f32 weights, unmerging the quantised ones again`, async () => {
    const model = tinyModel({ storage })
    const method = tinyLora(model)
    for (const { tensor, size: n } of method.trainable.slice(0, 8))
      tensor.upload(Float32Array.from({ length: n }, (_, i) => 0.2 * Math.sin(i * 1.7)))
    const bytes = model.bytes
    const logits = await logitsOf(model)
    method.merge()
    compare('merged', await logitsOf(model), logits, { relative: 1e-5 })
    assert.is(model.linears.get(method.matched[0]!.path)!.weight.tensor.dtype, 'f32')
    method.unmerge()
    assert.is(model.bytes, bytes)
    compare('unmerged', await logitsOf(model), logits, { relative: 0 })
    method.detach()
    model.dispose()
  })

  test(`${storage}: what needs the weights themselves is refused`, async () => {
    const model = tinyModel({ storage })
    assert.throws(() => attach(model, fullFineTuning()), /stored as .*; load it with storage f32 or bf16/)
    const error = await saveMerged(model, join(tmpdir(), 'lowrank-never')).catch(e => e)
    assert.is(error.code, 'ERR_UNSUPPORTED')
    assert.match(error.message, /load the base with storage f32 or bf16, the adapter onto it, and merge there/)
    model.dispose()
  })
}

test.run()
