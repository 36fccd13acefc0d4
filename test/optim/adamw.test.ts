// AdamW over an arena: 8-bit moments track f32 ones.

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { wave } from '../../lib/check/case.ts'
import { native } from '../../lib/native.ts'
import { Parameter } from '../../lib/nn/module.ts'
import { add } from '../../lib/ops/add.ts'
import { multiply } from '../../lib/ops/multiply.ts'
import { sum } from '../../lib/ops/sum.ts'
import { AdamW } from '../../lib/optim/adamw.ts'
import { Arena, type States } from '../../lib/optim/arena.ts'
import { Device, scope, Tensor } from '../../lib/tensor.ts'

const SIZES = [700, 3, 256, 1030]
const device = Device.get('cpu')

/**
 * Minimises sum of c (p - goal)^2 / 2, c from 0.1 to 1, from gradients with noise as large as they are, with a rate
 * that falls to 0. Returns the loss before, after, and the bytes of what trained.
 */
async function minimise(states: States, steps = 200): Promise<{ before: number; after: number; bytes: string }> {
  const parameters = SIZES.map(
    (size, i) => new Parameter(`p${i}`, Tensor.from(Float32Array.from(wave(size, i)), [size])),
  )
  const arena = new Arena(parameters, device, () => ({}), states)
  const optimizer = new AdamW(arena, { weightDecay: 0, clip: 0 })
  const n = arena.params.size
  const weights = new Float32Array(n) // 0 between the slices, where nothing trains
  for (const { begin, end } of arena.slices)
    weights.set(
      wave(end - begin, begin).map(x => 10 ** (0.5 * x - 0.5)),
      begin,
    )
  const curvature = Tensor.from(weights, [n]).keep()
  const goal = Tensor.from(Float32Array.from(wave(n, 3, -2)), [n]).keep()
  const lossOf = async () => {
    const loss = scope(() => {
      const distance = add(arena.params, goal)
      return sum(multiply(curvature, multiply(distance, distance)))
    })
    try {
      return (await loss.item()) / 2
    } finally {
      loss.dispose()
    }
  }
  try {
    const before = await lossOf()
    for (let step = 0; step < steps; step++)
      scope(() => {
        const noise = Tensor.from(Float32Array.from(wave(n, 1.7 * step)), [n])
        native.copyInto(arena.grads.handle, multiply(curvature, add(add(arena.params, goal), noise)).handle)
        optimizer.step(0.05 * (1 - step / steps))
      })
    const bytes = Buffer.from(await arena.params.bytes()).toString('hex')
    return { before, after: await lossOf(), bytes }
  } finally {
    arena.dispose()
    for (const tensor of [curvature, goal, ...parameters.map(p => p.tensor)]) tensor.dispose()
  }
}

test('8-bit moments reach the loss that f32 ones reach', async () => {
  const [wide, narrow] = [await minimise('f32'), await minimise('8bit')]
  console.log(`loss ${wide.before} to ${wide.after} with f32 moments, ${narrow.after} with 8-bit ones`)
  assert.ok(wide.after < 1e-2 * wide.before, `f32: ${wide.before} to ${wide.after}`)
  assert.ok(narrow.after < 1.5 * wide.after, `8bit: ${narrow.before} to ${narrow.after}`)
})

test('8-bit moments are deterministic, and take a quarter of the memory', async () => {
  assert.is((await minimise('8bit', 20)).bytes, (await minimise('8bit', 20)).bytes)
  const bytes = (states: States) => {
    const parameter = new Parameter('p', Tensor.zeros([4096], { dtype: 'f32' }))
    const arena = new Arena([parameter], device, () => ({}), states)
    try {
      return arena.bytes
    } finally {
      arena.dispose()
      parameter.tensor.dispose()
    }
  }
  assert.is(bytes('f32'), 4 * 4 * 4096)
  assert.is(bytes('8bit'), (4 + 4 + 1 + 1) * 4096 + 2 * 4 * 16)
})

test('8-bit moments: what lies in the padding of the arena moves no scale', async () => {
  const after = async (padding: number) => {
    const parameters = [5, 300].map((n, i) => new Parameter(`p${i}`, Tensor.from(Float32Array.from(wave(n, i)), [n])))
    const arena = new Arena(parameters, device, () => ({}), '8bit')
    const optimizer = new AdamW(arena)
    try {
      for (let step = 0; step < 6; step++) {
        // As a checkpoint that keeps slices alone would restore it.
        if (step === 3)
          for (const codes of [arena.m, arena.v]) {
            const kept = new Uint8Array(await codes.bytes())
            const holds = (i: number) => arena.slices.some(({ begin, end }) => i >= begin && i < end)
            codes.upload(kept.map((code, i) => (holds(i) ? code : padding)))
          }
        // Ever smaller gradients: the largest moment shrinks below what it was.
        for (const { tensor } of parameters) {
          const values = Float32Array.from(wave(tensor.size, step), x => x / 10 ** step)
          tensor.grad!.upload(values)
        }
        optimizer.step(1e-2)
      }
      return Buffer.from(await arena.params.bytes()).toString('hex')
    } finally {
      arena.dispose()
      for (const { tensor } of parameters) tensor.dispose()
    }
  }
  const expected = await after(127)
  for (const padding of [0, 1, 255]) assert.is(await after(padding), expected, `code ${padding}`)
})

test.run()
