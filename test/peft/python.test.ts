// Adapters made here, of every method that PEFT has, loaded by PEFT itself: LOWRANK_PYTHON names a Python with peft.

import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'uvu'
import { attach, createMethod, METHODS } from '../../lib/peft/index.ts'
import { compare } from '../support/compare.ts'
import { unpad } from '../support/padded.ts'
import { folderOf, logitsOf, readMeta, tinyBatch, tinyModel, withFolder } from './golden.ts'

const OWN = ['BITFIT', 'BOTTLENECK', 'HEAD'] // PEFT has no such methods
const OPTIONS: Readonly<Record<string, object>> = {
  adalora: { initR: 4, targetR: 2 },
  miss: { r: 5 },
  prefix: { numVirtualTokens: 3 },
  'token-rows': { tokenIndices: [3, 5, 7, 10] },
  prompt: { numVirtualTokens: 3 },
  ptuning: { numVirtualTokens: 3, encoderHiddenSize: 8 },
  vera: { r: 8 },
}

const PYTHON = `
import json, sys, warnings
warnings.filterwarnings('ignore')
import torch, transformers
from peft import PeftModel
from safetensors.torch import load_file
transformers.utils.logging.disable_progress_bar()
base, task, folders = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
kind = dict(seq='SequenceClassification', lm='CausalLM', s2s='Seq2SeqLM')[task]
given = load_file(base + '/io.safetensors')
inputs = {k: given[k].long() for k in ('input_ids', 'attention_mask')}
found = []
for folder in folders:
    model = getattr(transformers, 'AutoModelFor' + kind).from_pretrained(base, dtype=torch.float32)
    # peft 0.21 looks for a method that transformers 5 no longer has, and that generate() alone would call.
    if task == 's2s':
        model._prepare_encoder_decoder_kwargs_for_generation = None
        inputs['decoder_input_ids'] = model._shift_right(given['labels'].long())
    try:
        with torch.no_grad():
            logits = PeftModel.from_pretrained(model, folder).eval()(**inputs).logits
    except ValueError as error:
        # Encoders of transformers 5.24 take no prefix any more.
        if task != 'seq' or 'past key values' not in str(error):
            raise
        found.append(None)
        continue
    # Virtual tokens of a decoder have logits too.
    found.append((logits if logits.dim() == 2 else logits[:, -given['labels'].shape[1]:]).flatten().tolist())
print(json.dumps(found))
`

for (const base of ['bert-seq', 'llama-lm-tied', 't5'])
  test(`PEFT loads every method that it has on ${base}, and computes the same`, async () => {
    const python = process.env.LOWRANK_PYTHON
    if (!python) return console.log('skip: PEFT loads what is saved here (LOWRANK_PYTHON names no Python with peft)')
    await withFolder(async out => {
      const kinds = METHODS.filter(({ peftType }) => peftType && !OWN.includes(peftType))
      const { task, lengths, said } = readMeta<{ task: string; lengths: number[]; said?: number[] }>(folderOf(base))
      const expected: Float32Array[] = []
      let outputs = 0
      for (const { type } of kinds) {
        const model = await tinyModel(base)
        outputs = model.head.outputs
        const { batch } = tinyBatch(base)
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
      const printed = execFileSync(python, ['-c', PYTHON, folderOf(base), task, folders], {
        encoding: 'utf8',
        maxBuffer: 1 << 26,
        env: { ...process.env, TORCHINDUCTOR_CACHE_DIR: join(out, 'cache') },
      })
      const found: (number[] | null)[] = JSON.parse(printed.trim().split('\n').at(-1)!)
      for (const [i, { type }] of kinds.entries()) {
        const computed = found[i]
        if (!computed) {
          console.log(`skip: ${type} on ${base} (this PEFT and transformers run it on no encoder)`)
          continue
        }
        const logits = Float32Array.from(computed)
        compare(type, task === 'seq' ? logits : unpad(logits, said ?? lengths, outputs), expected[i]!)
      }
    })
  })

test.run()
