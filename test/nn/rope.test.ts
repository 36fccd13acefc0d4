import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { ModelConfig } from '../../lib/io/config.ts'
import type { JsonObject } from '../../lib/io/json.ts'
import { native } from '../../lib/native.ts'
import { type RopeFrequencyOptions, ropeFrequencies, ropeTable } from '../../lib/nn/rope.ts'
import { compare } from '../support/compare.ts'

const config = (values: JsonObject): ModelConfig => ({ path: 'config.json', modelType: 'llama', values })

function check(values: JsonObject, options: RopeFrequencyOptions, expected: number[], attentionFactor = 1) {
  const found = ropeFrequencies(config(values), options)
  compare('frequencies', found.perPosition, expected, { relative: 0, absolute: 1e-15 })
  for (const [i, f] of expected.entries()) assert.ok(Math.abs(found.perPosition[i]! / f - 1) < 1e-12, `pair ${i}`)
  compare('attention factor', [found.attentionFactor], [attentionFactor], { relative: 1e-14 })
}

test('default and linear, in both spellings', () => {
  const expected = [1, 0.1, 0.01, 0.001]
  check({ rope_theta: 10000 }, { headDim: 8 }, expected)
  check({ rope_parameters: { rope_theta: 10000, rope_type: 'default' } }, { headDim: 8 }, expected)
  const half = expected.map(f => f / 2)
  check({ rope_scaling: { type: 'linear', factor: 2 } }, { headDim: 8 }, half)
  check({ rope_scaling: { rope_type: 'linear', type: 'linear', factor: 2 } }, { headDim: 8 }, half)
  check({ partial_rotary_factor: 0.5 }, { headDim: 16 }, expected)
  check({ rope_parameters: { partial_rotary_factor: 0.5 } }, { headDim: 16 }, expected)
})

// Values of the rules below: computed from transformers' definitions in Python.
test('dynamic scaling begins past max_position_embeddings', () => {
  const values = { max_position_embeddings: 128, rope_scaling: { rope_type: 'dynamic', factor: 2 } }
  check(values, { headDim: 8, length: 128 }, [1, 0.1, 0.01, 0.001])
  const grown = [1, 0.052275795857471025, 0.0027327588325319844, 0.00014285714285714287]
  check(values, { headDim: 8, length: 512 }, grown)
})

test('YaRN', () => {
  const expected = [
    1, 0.31622776601683794, 0.1, 0.02569350598886808, 0.00625, 0.0013834964763236657, 0.00025, 7.905694150420948e-5,
  ]
  const rope = { rope_type: 'yarn', factor: 4, original_max_position_embeddings: 2048 }
  check({ rope_scaling: rope }, { headDim: 16 }, expected, 0.1 * Math.log(4) + 1)
  const { factor, ...implied } = rope
  check({ max_position_embeddings: 8192, rope_scaling: implied }, { headDim: 16 }, expected, 0.1 * Math.log(factor) + 1)
  check({ rope_scaling: { ...rope, attention_factor: 0.5 } }, { headDim: 16 }, expected, 0.5)
  check({ rope_scaling: { ...rope, mscale: 1, mscale_all_dim: 1 } }, { headDim: 16 }, expected, 1)
})

test('Llama 3', () => {
  const rope = {
    rope_type: 'llama3',
    rope_theta: 500000,
    factor: 8,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  }
  const expected = [
    1, 0.19392274474868576, 0.03760603093086393, 0.0072926647372171085, 0.0005248461609929547, 3.428102195952591e-5,
    6.647869871181236e-6, 1.2891731721515574e-6,
  ]
  check({ rope_parameters: rope }, { headDim: 16 }, expected)
})

test('LongRoPE has a factor for each pair', () => {
  const values = {
    max_position_embeddings: 131072,
    original_max_position_embeddings: 4096,
    rope_scaling: { type: 'longrope', short_factor: [1, 1, 2, 2], long_factor: [1, 4, 5, 10] },
  }
  const attention = Math.sqrt(1 + Math.log(32) / Math.log(4096))
  check(values, { headDim: 8, length: 4096 }, [1, 0.1, 0.005, 0.0005], attention)
  check(values, { headDim: 8, length: 4097 }, [1, 0.025, 0.002, 0.0001], attention)
})

test('kinds of layers have their own', () => {
  const own = {
    rope_parameters: {
      full_attention: { rope_type: 'linear', factor: 8, rope_theta: 1e6 },
      sliding_attention: { rope_type: 'default', rope_theta: 1e4 },
    },
  }
  check(own, { headDim: 4, layerType: 'full_attention' }, [1 / 8, 1e-3 / 8])
  check(own, { headDim: 4, layerType: 'sliding_attention' }, [1, 1e-2])
  const older = { rope_theta: 1e6, rope_local_base_freq: 1e4, rope_scaling: { rope_type: 'linear', factor: 8 } }
  check(older, { headDim: 4, layerType: 'full_attention' }, [1 / 8, 1e-3 / 8])
  check(older, { headDim: 4, layerType: 'sliding_attention' }, [1, 1e-2])
})

test('what is wrong is named', () => {
  const refused = (values: JsonObject, message: RegExp) =>
    assert.throws(
      () => ropeFrequencies(config(values), { headDim: 8 }),
      (error: Error) => message.test(error.message),
    )
  refused({ rope_scaling: { rope_type: 'lama3' } }, /rope_scaling: rope_type is "lama3".*llama3/)
  refused({ rope_scaling: { rope_type: 'linear' } }, /factor/)
  refused({ rope_scaling: { rope_type: 'longrope', short_factor: [1], long_factor: [1] } }, /4 positive numbers/)
  refused({ partial_rotary_factor: 0.4 }, /3 of 8 columns/)
})

test('the table holds cosines, then sines', async () => {
  const before = native.live()
  const table = ropeTable({ perPosition: Float64Array.of(1, 0.25), attentionFactor: 2 }, 3, { dtype: 'f64' })
  const expected = [0, 1, 2].flatMap(p => [Math.cos(p), Math.cos(p / 4), Math.sin(p), Math.sin(p / 4)].map(v => 2 * v))
  compare('table', (await table.data()) as Float64Array, expected, { relative: 1e-15 })
  table.dispose()
  assert.is(native.live(), before)
})

test.run()
