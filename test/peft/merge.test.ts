// Merged models: in memory, and as folders that transformers loads.

import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { openSafetensors } from '../../lib/io/safetensors.ts'
import { loadModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { type Adapter, attach, loadAdapter, lora, mergeAdapter, saveAdapter, saveMerged } from '../../lib/peft/index.ts'
import { compare } from '../support/compare.ts'
import { ADAPTERS, bytesOf, logitsOf, MODELS, tinyBatch, tinyModel, withFolder } from './golden.ts'

const BASES = ['bert-seq', 'bert-tok', 'bert-mlm', 'bert-bf16', 'roberta-seq', 'roberta-tok-f16', 'distilbert-seq']

/** A model with LoRA on every layer, both factors far from zero. */
async function adapted(
  name: string,
  storage: 'f32' | 'bf16' | 'f64' = 'f32',
): Promise<{ model: Model; attached: Adapter }> {
  const model = await tinyModel(name, { storage })
  const attached = attach(model, lora({ r: 3, targetModules: 'all-linear', bias: 'all' }), { seed: 4 })
  for (const [i, { tensor, size }] of attached.trainable.entries())
    tensor.upload(Float64Array.from({ length: size }, (_, j) => 0.3 * Math.sin(i * 3.1 + j * 1.7)))
  return { model, attached }
}

for (const name of BASES)
  for (const storage of ['f32', 'f64'] as const)
    test(`${name} in ${storage}: merged computes the same, unmerged has the original bytes`, async () => {
      const before = native.live()
      const { batch } = tinyBatch(name)
      const { model, attached } = await adapted(name, storage)
      const bytes = await bytesOf(model)
      const logits = await logitsOf(model, batch)
      attached.merge()
      compare('merged', await logitsOf(model, batch), logits, { relative: storage === 'f64' ? 1e-12 : 1e-5 })
      attached.unmerge()
      assert.equal(await bytesOf(model), bytes)
      assert.equal(await logitsOf(model, batch), logits)
      mergeAdapter(attached)
      compare('merged for good', await logitsOf(model, batch), logits, { relative: storage === 'f64' ? 1e-12 : 1e-5 })
      model.dispose()
      assert.is(native.live(), before)
    })

test('a bf16 base: merged weights are rounded once, unmerged has the original bytes', async () => {
  const before = native.live()
  const { model, attached } = await adapted('bert-bf16', 'bf16')
  const { path } = attached.matched[0]!
  const weight = model.parameters.get(`${path}.weight`)!
  const bytes = await bytesOf(model)
  const [w, delta] = [await weight.tensor.data(), attached.deltaWeight(path)]
  const exact = (await delta.data()).map((d, i) => d + w[i]!)
  delta.dispose()
  attached.merge()
  assert.is(weight.tensor.dtype, 'bf16')
  const merged = await weight.tensor.data()
  merged.forEach((value, i) => {
    assert.ok(Math.abs(value - exact[i]!) <= Math.abs(exact[i]!) / 256, `${i}: ${value}, exact ${exact[i]}`)
  })
  attached.unmerge()
  assert.equal(await bytesOf(model), bytes)
  attached.detach()
  model.dispose()
  assert.is(native.live(), before)
})

for (const name of BASES)
  test(`${name}: a merged folder loads again, in the dtype of its checkpoint`, async () => {
    const before = native.live()
    const { batch } = tinyBatch(name)
    const { model, attached } = await adapted(name)
    const logits = await logitsOf(model, batch)
    await withFolder(async out => {
      const dir = join(out, 'merged')
      await saveMerged(model, dir)
      assert.equal(await logitsOf(model, batch), logits, 'the model itself is as it was')
      const loaded = await loadModel(dir, { task: model.task })
      assert.equal(loaded.labels, model.labels)
      const dtype = ({ 'bert-bf16': 'BF16', 'roberta-tok-f16': 'F16' } as Record<string, string>)[name] ?? 'F32'
      const file = openSafetensors(join(dir, 'model.safetensors'))
      assert.equal([...new Set(file.names().map(key => file.info(key).dtype))], [dtype])
      file.close()
      const relative = { F32: 1e-5, F16: 5e-3, BF16: 5e-2 }[dtype]!
      compare('logits', await logitsOf(loaded, batch), logits, { relative })
      loaded.dispose()
      // Merged in memory and merged while writing are the same sum.
      attached.merge()
      await saveMerged(model, join(out, 'second'))
      const files = [dir, join(out, 'second')].map(d => readFileSync(join(d, 'model.safetensors')))
      assert.ok(files[0]!.equals(files[1]!))
    })
    attached.detach()
    model.dispose()
    assert.is(native.live(), before)
  })

test('config.json of a merged folder: class, labels and problem of its head; tokenizer files beside it', async () => {
  const before = native.live()
  await withFolder(async out => {
    const base = join(out, 'base')
    const source = await tinyModel('bert-seq')
    await saveMerged(source, base)
    const templates = 'additional_chat_templates'
    mkdirSync(join(base, templates))
    const files = ['tokenizer.json', 'chat_template.jinja', 'spm.model', `${templates}/tool_use.jinja`]
    for (const name of files) writeFileSync(join(base, name), '{"é": 1}')
    writeFileSync(join(base, templates, 'notes.txt'), 'no template')
    const model = await loadModel(base, {
      task: 'sequence-classification',
      labels: ['no', 'yes', 'é'],
      problem: 'multi',
    })
    await saveMerged(model, join(out, 'merged'))
    model.dispose()
    const config = JSON.parse(readFileSync(join(out, 'merged/config.json'), 'utf8'))
    assert.equal(config.architectures, ['BertForSequenceClassification'])
    assert.equal(config.id2label, { 0: 'no', 1: 'yes', 2: 'é' })
    assert.equal(config.label2id, { no: 0, yes: 1, é: 2 })
    assert.is(config.problem_type, 'multi_label_classification')
    for (const name of files) assert.is(readFileSync(join(out, 'merged', name), 'utf8'), '{"é": 1}', name)
    assert.equal(readdirSync(join(out, 'merged', templates)), ['tool_use.jinja'])
    await saveMerged(source, join(out, 'merged')) // what is a model's folder may be replaced
    source.dispose()
  })
  assert.is(native.live(), before)
})

test('what diverged, or passes the range of F16, is not written', async () => {
  const { model, attached } = await adapted('roberta-tok-f16')
  attached.trainable[0]!.tensor.upload(new Float32Array(attached.trainable[0]!.size).fill(1e9))
  await withFolder(async out => {
    const error = await saveMerged(model, join(out, 'm')).catch((thrown: Error) => thrown)
    assert.match((error as Error).message, /is not finite in F16/)
  })
  attached.detach()
  model.dispose()
})

const PYTHON = `
import sys, json, warnings
warnings.filterwarnings('error')
import torch, transformers
from peft import PeftModel
from safetensors.torch import load_file
transformers.utils.logging.disable_progress_bar()

def logits(model, inputs):
    with torch.no_grad():
        found = model.eval()(**inputs).logits
    return found[inputs['attention_mask'].bool()] if found.dim() == 3 else found

found = []
for case in json.loads(sys.argv[1]):
    auto = getattr(transformers, 'AutoModelFor' + case['kind'])
    given = load_file(case['io'])
    inputs = {k: given[k].long() for k in ('input_ids', 'attention_mask', 'token_type_ids') if k in given}
    labels = case['labels']
    more = dict(num_labels=len(labels)) if labels else {}
    model = PeftModel.from_pretrained(auto.from_pretrained(case['base'], dtype=torch.float32, **more), case['adapter'])
    merged, info = auto.from_pretrained(case['merged'], output_loading_info=True, dtype=torch.float32)
    assert not any(info.values()), info
    assert not labels or [merged.config.id2label[i] for i in range(len(labels))] == labels, merged.config.id2label
    found.append([type(merged).__name__] + [logits(m, inputs).flatten().tolist() for m in (model, merged)])
print(json.dumps(found))
`

/** A Python that has peft, named by LOWRANK_PYTHON. */
function findPython(): string | undefined {
  const python = process.env.LOWRANK_PYTHON
  try {
    if (python) execFileSync(python, ['-c', 'import peft'], { stdio: 'ignore' })
    return python
  } catch {
    return undefined
  }
}

const KINDS: [name: string, kind: string][] = [
  ['bert-seq', 'SequenceClassification'],
  ['bert-tok', 'TokenClassification'],
  ['bert-mlm', 'MaskedLM'],
  ['roberta-seq', 'SequenceClassification'],
  ['distilbert-seq', 'SequenceClassification'],
]

test('PEFT loads our adapters without a warning, transformers our merged folders, both with our logits', async () => {
  const python = findPython()
  if (!python) return console.log('skip: PEFT loads what is saved here (LOWRANK_PYTHON names no Python with peft)')
  await withFolder(async out => {
    const expected: Float32Array[] = []
    const cases: object[] = []
    for (const [name, kind] of KINDS) {
      const { model, attached } = await adapted(name)
      expected.push(await logitsOf(model, tinyBatch(name).batch))
      const [adapter, merged] = [join(out, name, 'adapter'), join(out, name, 'merged')]
      await saveAdapter(attached, adapter)
      await saveMerged(model, merged)
      const base = join(MODELS, name)
      cases.push({ kind, adapter, merged, base, io: join(base, 'io.safetensors'), labels: model.labels })
      attached.detach()
      model.dispose()
    }
    const printed = execFileSync(python, ['-c', PYTHON, JSON.stringify(cases)], { encoding: 'utf8' })
    const found: [string, number[], number[]][] = JSON.parse(printed.trim().split('\n').at(-1)!)
    found.forEach(([className, peft, merged], i) => {
      const name = KINDS[i]![0]
      const config = JSON.parse(readFileSync(join(out, name, 'merged/config.json'), 'utf8'))
      assert.equal(config.architectures, [className])
      compare(`${name}: PEFT's logits`, peft, expected[i]!)
      compare(`${name}: logits of the merged folder`, merged, expected[i]!)
    })
  })
})

test("an adapter of PEFT's merges into a folder of equal logits", async () => {
  const before = native.live()
  const { batch } = tinyBatch('roberta-seq')
  const model = await tinyModel('roberta-seq')
  const attached = await loadAdapter(model, join(ADAPTERS, 'roberta-seq-rslora'))
  const logits = await logitsOf(model, batch)
  await withFolder(async out => {
    await saveMerged(model, join(out, 'm'))
    const loaded = await loadModel(join(out, 'm'), { task: 'sequence-classification' })
    compare('logits', await logitsOf(loaded, batch), logits)
    loaded.dispose()
  })
  attached.detach()
  model.dispose()
  assert.is(native.live(), before)
})

test.run()
