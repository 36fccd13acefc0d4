import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import {
  architectures,
  bool,
  configLabels,
  count,
  float,
  int,
  type ModelConfig,
  probability,
  problemType,
  readModelConfig,
  savedDtype,
  string,
} from '../../lib/io/config.ts'
import { refused as refusedWith } from '../support/refused.ts'
import { shared } from '../support/shared.ts'
import { temporaryFolder } from '../support/temporary.ts'

const dir = temporaryFolder()

const known = ['bert', 'roberta', 'distilbert']

function config(values: unknown): ModelConfig {
  writeFileSync(join(dir, 'config.json'), typeof values === 'string' ? values : JSON.stringify(values))
  return readModelConfig(dir, known)
}

const refused = (run: () => unknown, ...words: string[]) => refusedWith(run, 'ERR_CONFIG', 'config.json', ...words)

const bert = (values: object = {}) => config({ model_type: 'bert', ...values })

test('model_type must be there and known; the nearest name is told', () => {
  assert.is(bert().modelType, 'bert')
  refused(() => config({}), 'model_type', 'missing', 'roberta')
  refused(() => config({ model_type: 3 }), 'model_type', '3')
  refused(() => config({ model_type: 'distillbert' }), '"distillbert"', 'did you mean "distilbert"')
  refused(() => config('[]'), '[]')
  refused(() => config('null'), 'null')
  refused(() => config('{'), 'line 1')
  refused(() => readModelConfig(join(dir, 'none'), known), 'no such file')
})

test('values: fallback for absent and null, an error for the wrong kind', () => {
  const values = bert({
    n: 12,
    f: 1e-12,
    b: false,
    s: 'gelu',
    nothing: null,
    half: 0.5,
    text: '12',
    neg: -1,
    big: 2 ** 31,
  })
  assert.is(int(values, 'n'), 12)
  assert.is(int(values, 'neg'), -1)
  assert.is(int(values, 'nothing', 3), 3)
  assert.is(count(values, 'absent', 512), 512)
  assert.is(float(values, 'f'), 1e-12)
  assert.is(float(values, 'n'), 12)
  assert.is(probability(values, 'half'), 0.5)
  assert.is(bool(values, 'b', true), false)
  assert.is(string(values, 's'), 'gelu')
  assert.is(string(values, 's', 'relu', ['gelu', 'relu']), 'gelu')
  refused(() => int(values, 'absent'), 'absent', 'missing')
  refused(() => int(values, 'toString'), 'toString', 'missing')
  refused(() => int(values, 'half', 1), 'half', '0.5')
  refused(() => int(values, 'text', 1), 'text', '"12"')
  refused(() => count(values, 'neg'), 'neg', '-1')
  refused(() => count(values, 'big'), 'big', '2147483648')
  refused(() => float(values, 's'), 's', '"gelu"')
  refused(() => probability(values, 'n'), 'n', '12')
  refused(() => bool(values, 'n'), 'n', '12')
  refused(() => string(values, 'n'), 'n', '12')
  refused(() => string(values, 's', 'selu', ['selu', 'relu']), '"gelu"', 'did you mean "selu"')
})

test('dtype in both spellings', () => {
  assert.is(savedDtype(bert()), undefined)
  assert.is(savedDtype(bert({ torch_dtype: 'bfloat16' })), 'bfloat16')
  assert.is(savedDtype(bert({ dtype: 'float16', torch_dtype: 'float32' })), 'float16')
  assert.is(savedDtype(bert({ dtype: null, torch_dtype: 'torch.float32' })), 'float32')
  refused(() => savedDtype(bert({ dtype: 'int8' })), 'dtype', 'int8')
  refused(() => savedDtype(bert({ torch_dtype: { text: 'float32' } })), 'torch_dtype')
})

test('architectures and problem_type', () => {
  assert.equal(architectures(bert({ architectures: ['BertModel'] })), ['BertModel'])
  assert.equal(architectures(bert({ architectures: null })), [])
  refused(() => architectures(bert({ architectures: 'BertModel' })), 'BertModel')
  assert.is(problemType(bert({ problem_type: null })), undefined)
  assert.is(problemType(bert({ problem_type: 'regression' })), 'regression')
  refused(() => problemType(bert({ problem_type: 'ranking' })), 'ranking')
})

test('labels: from either map or the count, in order of id', () => {
  assert.is(configLabels(bert()), undefined)
  const both = configLabels(bert({ id2label: { 1: 'no', 0: 'yes' }, label2id: { yes: 0, no: 1 } }))
  assert.equal(both?.id2label, ['yes', 'no'])
  assert.is(both?.label2id.get('no'), 1)
  const many = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [String(i), `c${i}`]))
  assert.equal(configLabels(bert({ id2label: many }))?.id2label.at(-1), 'c11')
  assert.equal(configLabels(bert({ label2id: { b: 1, a: 0 } }))?.id2label, ['a', 'b'])
  // transformers 5.24 loads this with config.id2label {0: 'a', 1: 'b', 2: 'c'}.
  const stale = bert({ id2label: { 0: 'a', 1: 'b', 2: 'c' }, label2id: { LABEL_0: 0, LABEL_1: 1 } })
  assert.equal(
    [...configLabels(stale)!.label2id],
    [
      ['a', 0],
      ['b', 1],
      ['c', 2],
    ],
  )
  assert.equal(configLabels(bert({ num_labels: 2 }))?.id2label, ['LABEL_0', 'LABEL_1'])
  refused(() => configLabels(bert({ id2label: { 0: 'a', 2: 'b' } })), 'gaps', '2', '1')
  refused(() => configLabels(bert({ id2label: { 0: 'a', 1: 'a' } })), '"a"', '0', '1')
  refused(() => configLabels(bert({ id2label: { x: 'a' } })), '"x"')
  assert.equal(configLabels(bert({ id2label: { 0: 1, 1: 5 } }))?.id2label, ['1', '5'])
  refused(() => configLabels(bert({ id2label: { 0: null } })), 'id2label 0', 'null')
  refused(() => configLabels(bert({ id2label: {} })), 'empty')
  refused(() => configLabels(bert({ id2label: ['a'] })), 'id2label')
  refused(() => configLabels(bert({ label2id: { a: '0' } })), '"a"')
  refused(() => configLabels(bert({ id2label: { 0: 'a', 1: 'b' }, label2id: { a: 1, b: 0 } })), '"a"', 'agree')
  refused(() => configLabels(bert({ id2label: { 0: 'a', 1: 'b' }, label2id: { a: 0 } })), '2', '1')
})

test('fuzz: any config gives values or ERR_CONFIG', () => {
  const keys = ['model_type', 'hidden_size', 'dtype', 'torch_dtype', 'id2label', 'label2id', 'num_labels']
  const value = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(fc.oneof(fc.nat(3).map(String), fc.string()), fc.oneof(fc.nat(3), fc.constantFrom('a', 'b'))),
  )
  const text = fc.dictionary(fc.constantFrom(...keys, 'problem_type', 'architectures'), value).chain(object => {
    const good = JSON.stringify({ model_type: 'bert', ...object })
    return fc.oneof(
      fc.constant(good),
      fc.nat(good.length).map(at => good.slice(0, at)),
    )
  })
  fc.assert(
    fc.property(fc.oneof(text, fc.string()), drawn => {
      const readers = [
        (c: ModelConfig) => count(c, 'hidden_size', 1),
        (c: ModelConfig) => float(c, 'hidden_size', 1),
        savedDtype,
        configLabels,
        problemType,
        architectures,
      ]
      const only = (run: () => unknown) => {
        try {
          return run()
        } catch (error) {
          assert.instance(error, LowrankError, String(error))
          assert.is((error as LowrankError).code, 'ERR_CONFIG')
        }
        return undefined
      }
      const values = only(() => config(drawn)) as ModelConfig | undefined
      if (values) for (const reader of readers) only(() => reader(values))
    }),
    { numRuns: 300 },
  )
})

test('a real config', () => {
  const folder = shared('weights/minibert-own')
  if (!folder) return console.log('skipped: weights/minibert-own is not here')
  const real = readModelConfig(folder, known)
  assert.is(count(real, 'hidden_size'), 128)
  assert.is(savedDtype(real), 'float32')
  assert.is(float(real, 'classifier_dropout', 0.1), 0.1)
})

test.run()
