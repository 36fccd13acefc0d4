// Adapters in mlx-lm's files. test/golden/mlx/check.py runs the same files in mlx-lm and compares logits.

import { createHash } from 'node:crypto'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { LowrankError } from '../../lib/errors.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { loadModel } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { pack } from '../../lib/nn/batch.ts'
import { type Adapter, attach, dora, type LoraOptions, lora, saveMlx } from '../../lib/peft/index.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { logitsOf, MODELS } from './golden.ts'

const FOLDER = join(packageRoot, 'test/golden/mlx')
const KEPT = process.env.MLX_WRITTEN
const sums = JSON.parse(readFileSync(join(FOLDER, 'written.json'), 'utf8')) as Record<string, Record<string, string>>
const dir = temporaryFolder()

function trained(adapter: Adapter): Adapter {
  adapter.trainable.forEach((each, k) => {
    each.tensor.upload(Float32Array.from({ length: each.size }, (_, i) => 0.1 * Math.sin(i * 1.3 + k)))
  })
  return adapter
}

const CASES: Readonly<Record<string, LoraOptions>> = {
  'llama-lm': { r: 2, alpha: 5, targetModules: 'all-linear', alphaPattern: { q_proj: 3 } },
  'qwen3-lm': { r: 3, alpha: 4, useRslora: true, targetModules: ['q_proj', 'down_proj'], layersToTransform: [0] },
}

for (const [name, options] of Object.entries(CASES))
  test(`${name}: the files are those that mlx-lm ran as we do`, async () => {
    const before = native.live()
    const model = await loadModel(join(MODELS, name), { task: 'causal-lm' })
    const adapter = trained(attach(model, lora(options), { seed: 2 }))
    const folder = join(dir, name)
    await saveMlx(adapter, folder)
    const ids = Int32Array.from({ length: 9 }, (_, i) => 3 + ((i * 7) % 50))
    const logits = [...(await logitsOf(model, pack([ids])))]
    if (KEPT !== undefined) {
      cpSync(folder, join(KEPT, name), { recursive: true })
      const rows = Array.from(ids, (_, i) => logits.slice(i * 61, (i + 1) * 61))
      writeFileSync(join(KEPT, name, 'ids.json'), JSON.stringify([...ids]))
      writeFileSync(join(KEPT, name, 'logits.json'), JSON.stringify(rows))
    } else
      for (const [file, sum] of Object.entries(sums[name] ?? { none: '' }))
        assert.is(
          createHash('sha256')
            .update(readFileSync(join(folder, file)))
            .digest('hex'),
          sum,
          file,
        )
    adapter.detach()
    model.dispose()
    assert.is(native.live(), before)
  })

test('what mlx-lm has no place for is refused', async () => {
  const rejects = async (adapter: Adapter, message: RegExp) => {
    const error = await saveMlx(adapter, join(dir, 'never')).then(
      () => undefined,
      reason => reason as LowrankError,
    )
    assert.is(error?.code, 'ERR_UNSUPPORTED')
    assert.match(error?.message ?? '', message)
    adapter.detach()
  }
  const model = await loadModel(join(MODELS, 'llama-lm'), { task: 'causal-lm' })
  await rejects(attach(model, dora({ r: 2 })), /convert it to plain LoRA, or merge it/)
  await rejects(attach(model, lora({ r: 2, rankPattern: { q_proj: 3 } })), /the rank 2, another layer 3/)
  model.dispose()
  const other = await loadModel(join(MODELS, 'gpt2-lm'), { task: 'causal-lm' })
  await rejects(attach(other, lora({ r: 2 })), /transformer\.h\.0\.attn\.c_attn has another name in mlx-lm/)
  other.dispose()
})

test.run()
