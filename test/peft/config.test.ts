import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import { type PyJson, readJson, stringifyPython, writeJson } from '../../lib/io/json.ts'
import {
  type AdapterConfig,
  type AdapterContext,
  readAdapterConfig,
  adapterRecord as record,
  settingsOfFile,
} from '../../lib/peft/config.ts'
import { LORA, type LoraOptions, lora as loraMethod, type ResolvedLora } from '../../lib/peft/lora.ts'
import { matchTargets } from '../../lib/peft/targets.ts'
import { refused } from '../support/refused.ts'
import { shared } from '../support/shared.ts'
import { temporaryFolder } from '../support/temporary.ts'

const resolveLora = (options: LoraOptions) => loraMethod(options).options as ResolvedLora
const adapterRecord = (options: object, context: AdapterContext, from?: AdapterConfig) =>
  record(LORA, options, context, from)
function loraFromConfig(config: AdapterConfig) {
  const { options, ...rest } = settingsOfFile(LORA, config)
  return { options: options as unknown as ResolvedLora, ...rest }
}

const dir = temporaryFolder()

interface Golden {
  models: Record<string, { model_type: string; linears: [string, number, number, boolean][] }>
  cases: { model: string; config: object; saved?: string }[]
}
const golden = readJson(fileURLToPath(new URL('../golden/peft/matching.json', import.meta.url))) as unknown as Golden
const saved = golden.cases.filter((item): item is typeof item & { saved: string } => item.saved !== undefined)

function config(text: unknown) {
  writeFileSync(join(dir, 'adapter_config.json'), typeof text === 'string' ? text : JSON.stringify(text))
  return readAdapterConfig(dir)
}

/** PEFT writes sets in an order that changes from run to run, so lists of targets compare sorted. */
function canonical(text: string): string {
  const value = JSON.parse(text) as Record<string, unknown>
  for (const key of ['target_modules', 'exclude_modules'])
    if (Array.isArray(value[key])) {
      const names = value[key] as string[]
      const list = (items: string[]) => `"${key}": ${JSON.stringify(items, null, 2).replaceAll('\n', '\n  ')}`
      text = text.replace(list(names), list([...names].sort()))
    }
  return text
}

const lora = (values: object = {}) => config({ peft_type: 'LORA', ...values })
const context: AdapterContext = { modelType: 'bert', targets: [] }

for (const { model, config: given, saved: text } of saved)
  test(`PEFT's file: ${model} ${JSON.stringify(given)}`, async () => {
    const { model_type: modelType, linears } = golden.models[model]!
    const source = config(text)
    const { options, taskType } = loraFromConfig(source)
    const layers = linears.map(([path, , , isHead]) => ({ path, isHead }))
    const targets = matchTargets(layers, options, { modelType, taskType, strict: false }).map(({ path }) => path)
    const mapping = source.values.auto_mapping as Record<string, string> | null
    const about: AdapterContext = {
      modelType,
      targets,
      taskType,
      fanInFanOut: source.values.fan_in_fan_out === true,
      autoMapping: mapping
        ? { baseModelClass: mapping.base_model_class!, parentLibrary: mapping.parent_library! }
        : undefined,
    }
    const round = stringifyPython(adapterRecord(options, about, source))
    assert.is(canonical(round), canonical(text))
    // From our options alone every byte is the same too, but for an alpha that is a float of whole value.
    const fresh = stringifyPython(adapterRecord(options, about))
    assert.is(canonical(fresh), canonical(text).replace('"lora_alpha": 16.0', '"lora_alpha": 16'))
    await writeJson(join(dir, 'adapter_config.json'), adapterRecord(options, about, source))
    assert.is(readFileSync(join(dir, 'adapter_config.json'), 'utf8'), round)
  })

test('an unknown key, nested and of any kind, survives; what changed is written anew', () => {
  const source = lora({ r: 4, zukunft: { b: [1, null], a: '\u00e9' }, runtime_config: {}, inference_mode: false })
  const exact = config('{"peft_type": "LORA", "lora_alpha": 16.0, "odd": 1e-05, "whole": 2.0, "lora_dropout": 0}')
  const record = adapterRecord(loraFromConfig(source).options, context, source)
  assert.equal(record.zukunft, { b: [1, null], a: 'é' })
  assert.is(record.inference_mode, true)
  assert.not.ok('runtime_config' in record)
  const text = stringifyPython(adapterRecord({ ...loraFromConfig(exact).options, r: 2 }, context, exact))
  for (const line of ['"lora_alpha": 16.0', '"odd": 1e-05', '"whole": 2.0', '"lora_dropout": 0,', '"r": 2'])
    assert.ok(text.includes(line), line)
})

test('defaults; all-linear, family defaults and patterns are spelled out on writing', () => {
  const options = resolveLora({})
  assert.equal([options.r, options.alpha, options.dropout, options.regularizer], [8, 8, 0, 0])
  assert.equal(loraFromConfig(lora()).options, options)
  assert.equal(adapterRecord(options, { ...context, modelType: 'distilbert' }).target_modules, ['q_lin', 'v_lin'])
  const targets = ['a.query', 'b.query']
  const spelled = adapterRecord(
    resolveLora({ targetModules: 'all-linear', rankPattern: { query: 2, 'b.query': 3, 'a.*': 4 } }),
    {
      ...context,
      targets,
      taskType: 'SEQ_CLS',
    },
  )
  assert.equal(spelled.target_modules, targets)
  assert.equal(spelled.rank_pattern, { '^a\\.query': 2, '^b\\.query': 2 })
  assert.equal(spelled.modules_to_save, ['classifier', 'score'])
  assert.is(spelled.lora_alpha as number, 8)
  assert.is(Object.keys(spelled).length, 41)
})

test('options are checked by name, kind and range', () => {
  refused(() => resolveLora({ rank: 8 } as LoraOptions), 'ERR_OPTION', 'rank')
  refused(() => resolveLora({ targetModule: [] } as LoraOptions), 'ERR_OPTION', 'did you mean "targetModules"')
  const cases: [object, string, string][] = [
    [{ r: 0 }, 'r', '0'],
    [{ r: 1.5 }, 'r', '1.5'],
    [{ r: '8' }, 'r', '"8"'],
    [{ alpha: 0 }, 'alpha', '0'],
    [{ alpha: Number.NaN }, 'alpha', 'NaN'],
    [{ dropout: 1 }, 'dropout', '1'],
    [{ dropout: -0.1 }, 'dropout', '-0.1'],
    [{ bias: 'some' }, 'bias', 'lora_only'],
    [{ targetModules: ['query', ''] }, 'targetModules', 'query'],
    [{ targetModules: 3 }, 'targetModules', '3'],
    [{ layersToTransform: [-1] }, 'layersToTransform', '-1'],
    [{ rankPattern: { a: 0 } }, 'rankPattern', '0'],
    [{ alphaPattern: { a: -1 } }, 'alpha', '-1'],
    [{ modulesToSave: 'pooler' }, 'modulesToSave', 'pooler'],
    [{ initLoraWeights: 'corda' }, 'initLoraWeights', 'corda'],
    [{ useRslora: 1 }, 'useRslora', '1'],
    [{ exact: 'yes' }, 'exact', '"yes"'],
    [{ regularizer: -1 }, 'regularizer', '-1'],
    [{ regularizerKind: 'l1' }, 'regularizerKind', 'l1'],
  ]
  for (const [options, ...words] of cases) refused(() => resolveLora(options as LoraOptions), 'ERR_OPTION', ...words)
})

test("a file's values of the wrong kind are refused with file, key and value", () => {
  const cases: [object, string, string][] = [
    [{ r: '8' }, 'r', '"8"'],
    [{ r: 0 }, 'r', '0'],
    [{ lora_alpha: '16' }, 'lora_alpha', '"16"'],
    [{ lora_dropout: 1.5 }, 'lora_dropout', '1.5'],
    [{ bias: 'sum' }, 'bias', '"sum"'],
    [{ task_type: 'SEQ_CLASS' }, 'task_type', 'did you mean "SEQ_CLS"'],
    [{ target_modules: { a: 1 } }, 'target_modules', '{"a":1}'],
    [{ rank_pattern: { a: 1.5 } }, 'rank_pattern', '1.5'],
    [{ alpha_pattern: [] }, 'alpha_pattern', '[]'],
    [{ modules_to_save: 'classifier' }, 'modules_to_save', 'classifier'],
    [{ layers_to_transform: 'all' }, 'layers_to_transform', 'all'],
    [{ use_rslora: 'no' }, 'use_rslora', 'no'],
    [{ init_lora_weights: 3 }, 'init_lora_weights', '3'],
    [{ base_model_name_or_path: 3 }, 'base_model_name_or_path', '3'],
  ]
  for (const [values, ...words] of cases)
    refused(() => loraFromConfig(lora(values)), 'ERR_CONFIG', 'adapter_config.json', ...words)
  refused(() => loraFromConfig(config('{"peft_type":"LORA","r":8.0}')), 'ERR_CONFIG', 'r is 8.0')
  refused(() => config({ peft_type: 'lora' }), 'ERR_CONFIG', '"lora"', '"LORA"')
  refused(() => config({}), 'ERR_CONFIG', 'peft_type', 'missing')
  refused(() => config('[]'), 'ERR_CONFIG', '[]')
  refused(() => readAdapterConfig(join(dir, 'none')), 'ERR_CONFIG', 'no such file')
})

test('what is not built is named, never ignored', () => {
  for (const values of [
    { use_qalora: true },
    { lora_bias: true },
    { kasa_config: {} },
    { layer_replication: [[0, 4]] },
  ])
    refused(() => loraFromConfig(lora(values)), 'ERR_UNSUPPORTED', Object.keys(values)[0]!)
  for (const init of ['pissa_niter_4', 'corda', 'loftq', 'mica'])
    refused(() => loraFromConfig(lora({ init_lora_weights: init })), 'ERR_UNSUPPORTED', init)
  refused(() => loraFromConfig(config({ peft_type: 'IA3' })), 'ERR_UNSUPPORTED', 'IA3')
  assert.is(loraFromConfig(lora({ init_lora_weights: 'eva' })).options.initLoraWeights, true)
  for (const init of ['pissa', 'olora', 'orthogonal'])
    assert.is(loraFromConfig(lora({ init_lora_weights: init })).options.initLoraWeights, init)
  assert.is(loraFromConfig(lora({ init_lora_weights: 'gaussian', lora_alpha: 0 })).options.initLoraWeights, 'gaussian')
  loraFromConfig(lora({ target_parameters: [], use_dora: null, loftq_config: { bits: 4 } }))
})

test('fuzz: any file gives a config or a coded error, and what is read can be written', () => {
  const keys = Object.keys(adapterRecord(resolveLora({}), context))
  const value = fc.oneof(
    fc.jsonValue(),
    fc.dictionary(fc.string(), fc.nat(9)),
    fc.array(fc.string()),
    fc.constant(null),
  )
  fc.assert(
    fc.property(fc.dictionary(fc.constantFrom(...keys, 'x'), value, { maxKeys: 4 }), values => {
      try {
        const source = lora(values)
        const { options, taskType } = loraFromConfig(source)
        const again = adapterRecord(options, { ...context, taskType }, source)
        assert.equal(loraFromConfig(config(stringifyPython(again as PyJson))).options.r, options.r)
      } catch (error) {
        assert.instance(error, LowrankError, String(error))
      }
    }),
    { numRuns: 400 },
  )
})

test('shared adapters made by PEFT are read', () => {
  const folder = shared('golden/mini_seq__minibert-own/adapter')
  if (!folder) return console.log('skipped: golden/mini_seq__minibert-own is not here')
  const { options, taskType, baseModelNameOrPath } = loraFromConfig(readAdapterConfig(folder))
  assert.equal([options.r, options.alpha, taskType, baseModelNameOrPath], [8, 16, 'SEQ_CLS', 'minibert-own'])
})

test.run()
