// AdaLoRA's budget, step by step as PEFT's (test/golden/peft/budget.json).

import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { readJson } from '../../lib/io/json.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { native } from '../../lib/native.ts'
import { Parameter } from '../../lib/nn/module.ts'
import { Budget, type Triplet } from '../../lib/peft/budget.ts'
import { Tensor } from '../../lib/tensor.ts'
import { compare } from '../support/compare.ts'

type Numbers = Record<string, number[]>
interface Case {
  name: string
  settings: Record<string, number>
  steps: { params: Numbers; grads: Numbers; e: Numbers; pattern: Record<string, boolean[]> }[]
}

const CASES = readJson(`${packageRoot}/test/golden/peft/budget.json`) as unknown as Case[]
const SIDES: Record<string, [number, number]> = { one: [5, 4], two: [4, 6], three: [6, 3] }

function make(r: number) {
  const made: Parameter[] = []
  const parameter = (name: string, shape: readonly number[]) => {
    const each = new Parameter(name, Tensor.zeros(shape))
    made.push(each)
    return each
  }
  const layers: Triplet[] = Object.entries(SIDES).map(([path, [ins, outs]]) => {
    const [a, b, e] = [
      parameter(`${path}.lora_A`, [r, ins]),
      parameter(`${path}.lora_B`, [outs, r]),
      parameter(`${path}.lora_E`, [r, 1]),
    ]
    for (const each of [a, b, e]) each.tensor.grad = Tensor.zeros(each.shape)
    return { path, a, b, e }
  })
  const free = () => {
    for (const each of made) {
      each.tensor.grad?.dispose()
      each.dispose()
    }
  }
  return { layers, context: { constant: (shape: readonly number[]) => parameter('', shape) }, free }
}

for (const { name, settings, steps } of CASES)
  for (const resumed of [false, true])
    test(`${name}${resumed ? ', through a checkpoint at every step' : ''}: what stays is what stays with PEFT`, async () => {
      const before = native.live()
      const { init_r = 0, target_r = 0, tinit = 0, tfinal = 0, deltaT = 0, total_step = 0 } = settings
      const { beta1 = 0.85, beta2 = 0.85 } = settings
      const options = { targetR: target_r, tinit, tfinal, deltaT, sensitivityDecay: beta1, uncertaintyDecay: beta2 }
      const { layers, context, free } = make(init_r)
      let budget = new Budget(layers, options, context)
      for (const [i, { params, grads, e, pattern }] of steps.entries()) {
        for (const parameter of layers.flatMap(layer => [layer.a, layer.b, layer.e])) {
          parameter.tensor.upload(Float32Array.from(params[parameter.name]!))
          parameter.gradient!.upload(Float32Array.from(grads[parameter.name]!))
        }
        await budget.afterUpdate(i + 1, total_step)
        for (const layer of layers)
          compare(`step ${i + 1}, ${layer.e.name}`, await layer.e.tensor.data(), e[layer.e.name]!)
        const found = Object.fromEntries([...(budget.pattern ?? [])].map(([path, kept]) => [`${path}.lora_E`, kept]))
        assert.equal(found, pattern, `step ${i + 1}`)
        if (!resumed) continue
        const kept = new Map<string, Float32Array | Float64Array>()
        for (const [key, entry] of budget.state()) kept.set(key, await entry.read())
        budget = new Budget(layers, options, context)
        for (const [key, entry] of budget.state()) entry.write(kept.get(key)!)
      }
      assert.ok(budget.kept <= target_r * layers.length)
      free()
      assert.is(native.live(), before)
    })

test.run()
