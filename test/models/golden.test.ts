// Hidden states, logits, losses and gradients of every family against transformers, on the tiny checkpoints of
// test/golden/models (see its README).

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Tape } from '../../lib/autograd/tape.ts'
import { architectures } from '../../lib/io/config.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { openSafetensors, type SafetensorsFile } from '../../lib/io/safetensors.ts'
import { loadModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { scope, Tensor } from '../../lib/tensor.ts'
import { compare } from '../support/compare.ts'
import { batchOf, checkHidden, ints, unpad } from '../support/padded.ts'
import { TASKS_BY_WORD, targetsOf } from '../support/targets.ts'

const FOLDER = join(packageRoot, 'test/golden/models')
const PROBLEM = { regression: 'regression', multi_label_classification: 'multi' } as const

interface Meta {
  task: string
  problem: keyof typeof PROBLEM | null
  labels: number | string[] | null
  loss: number
  lengths: number[]
  missing: string[]
}

function labelsFrom(io: SafetensorsFile, meta: Meta): Int32Array | Float32Array {
  if (meta.problem) return io.readF32('labels')
  const labels = ints(io, 'labels')
  return meta.task === 'seq' || meta.task === 'qa' ? labels : unpad(labels, meta.lengths)
}

const names = (meta: Meta) =>
  meta.labels === null
    ? undefined
    : Array.isArray(meta.labels)
      ? meta.labels
      : Array.from({ length: meta.labels }, (_, i) => `L${i}`)

function fillMissing(model: Model, dir: string, meta: Meta): void {
  if (meta.missing.length === 0) return
  const extra = openSafetensors(join(dir, 'extra.safetensors'))
  for (const name of meta.missing) {
    const parameter = model.parameters.get(name)
    assert.ok(parameter?.isNew, `${name} should be newly initialised`)
    parameter.tensor.upload(extra.readF32(name))
  }
  extra.close()
}

const transposed = (x: ArrayLike<number>, rows: number, cols: number) =>
  Float64Array.from({ length: rows * cols }, (_, i) => x[(i % rows) * cols + Math.floor(i / rows)]!)

async function checkGradients(model: Model, io: SafetensorsFile) {
  for (const name of io.names().filter(n => n.startsWith('grad.') || n.startsWith('grad_rows.'))) {
    const byRows = name.startsWith('grad_rows.')
    const parameter = model.parameters.get(name.slice(name.indexOf('.') + 1))!
    const [rows, cols] = parameter.shape as [number, number]
    const found = await parameter.gradient!.data()
    const got = parameter.isTransposed ? transposed(found, rows, cols) : found
    const projected = byRows
      ? Float64Array.from({ length: rows }, (_, i) =>
          Float64Array.from(got.subarray(i * cols, (i + 1) * cols)).reduce((s, g, j) => s + g * Math.cos(j), 0),
        )
      : got
    compare(name, projected, io.readF32(name), { relative: 5e-5, absolute: 1e-9 })
  }
}

for (const name of readdirSync(FOLDER).filter(n => existsSync(join(FOLDER, n, 'meta.json'))))
  test(`${name}: hidden states, logits, loss and gradients equal transformers'`, async () => {
    const before = native.live()
    const dir = join(FOLDER, name)
    const meta = JSON.parse(readFileSync(join(dir, 'meta.json'), 'utf8')) as Meta
    const io = openSafetensors(join(dir, 'io.safetensors'))
    const problem = meta.problem ? PROBLEM[meta.problem] : 'single'
    const model = await loadModel(dir, { task: TASKS_BY_WORD[meta.task]!, labels: names(meta), problem })
    if (meta.missing.length === 0) assert.equal([model.className], architectures(model.config))
    fillMissing(model, dir, meta)
    const batch = batchOf(io, meta.lengths)
    const labels = labelsFrom(io, meta)
    await checkHidden(model, io, batch, meta.lengths)
    const logits = scope(() => model.logits(batch))
    const padded =
      meta.task === 'seq' ? io.readF32('logits') : unpad(io.readF32('logits'), meta.lengths, model.head.outputs)
    compare('logits', await logits.data(), padded, { relative: 1e-5 })
    logits.dispose()
    for (const parameter of model.parameters.values()) {
      parameter.tensor.requiresGrad = true
      parameter.tensor.grad = Tensor.zeros(parameter.shape).keep()
    }
    const targets = targetsOf(model, batch, labels)
    const tape = new Tape()
    const loss = tape.run(() => model.loss(batch, targets, { total: targets.weight }))
    tape.backward(loss)
    compare('loss', [await loss.item()], [meta.loss], { relative: 1e-5 })
    loss.dispose()
    await checkGradients(model, io)
    for (const parameter of model.parameters.values()) parameter.gradient!.dispose()
    model.dispose()
    io.close()
    assert.is(native.live(), before, 'every tensor is freed')
  })

test.run()
