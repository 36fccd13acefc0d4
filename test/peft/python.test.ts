// Adapters made here, of every method that PEFT has, loaded by PEFT itself: LOWRANK_PYTHON names a Python with peft.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'uvu'
import { attach, createMethod, METHODS } from '../../lib/peft/index.ts'
import { compare } from '../support/compare.ts'
import { logitsOf, MODELS, tinyBatch, tinyModel, withFolder } from './golden.ts'

const OWN = ['BITFIT', 'BOTTLENECK'] // PEFT has no such methods
const OPTIONS: Readonly<Record<string, object>> = {
  adalora: { initR: 4, targetR: 2 },
  miss: { r: 5 },
  prefix: { numVirtualTokens: 3 },
  prompt: { numVirtualTokens: 3 },
  vera: { r: 8 },
}

const PYTHON = `
import json, sys, warnings
warnings.filterwarnings('ignore')
import torch, transformers
from peft import PeftModel
from safetensors.torch import load_file
transformers.utils.logging.disable_progress_bar()
base, folders = sys.argv[1], json.loads(sys.argv[2])
given = load_file(base + '/io.safetensors')
inputs = {k: given[k].long() for k in ('input_ids', 'attention_mask')}
found = []
for folder in folders:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base, dtype=torch.float32)
    with torch.no_grad():
        found.append(PeftModel.from_pretrained(model, folder).eval()(**inputs).logits.flatten().tolist())
print(json.dumps(found))
`

test('PEFT loads every method that it has, and computes the same', async () => {
  const python = process.env.LOWRANK_PYTHON
  if (!python) return console.log('skip: PEFT loads what is saved here (LOWRANK_PYTHON names no Python with peft)')
  await withFolder(async out => {
    const kinds = METHODS.filter(({ peftType }) => peftType && !OWN.includes(peftType))
    const expected: Float32Array[] = []
    for (const { type } of kinds) {
      const model = await tinyModel('bert-seq')
      const { batch } = tinyBatch('bert-seq')
      batch.typeIds = undefined // PEFT passes none beside virtual tokens
      const adapter = attach(model, createMethod(type, OPTIONS[type] ?? {}))
      for (const [i, { tensor, size }] of adapter.trainable.entries()) {
        const start = await tensor.data()
        tensor.upload(Float64Array.from({ length: size }, (_, j) => start[j]! + 0.2 * Math.sin(i * 3.1 + j * 1.7)))
      }
      expected.push(await logitsOf(model, batch))
      await adapter.save(join(out, type))
      model.dispose()
    }
    const folders = JSON.stringify(kinds.map(({ type }) => join(out, type)))
    const printed = execFileSync(python, ['-c', PYTHON, join(MODELS, 'bert-seq'), folders], { encoding: 'utf8' })
    const found: number[][] = JSON.parse(printed.trim().split('\n').at(-1)!)
    for (const [i, { type }] of kinds.entries()) compare(type, found[i]!, expected[i]!)
  })
})

test.run()
