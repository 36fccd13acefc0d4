// LoRA adapters as mlx-lm keeps them: adapters.safetensors, whose factors are the transposed of PEFT's, and
// adapter_config.json, whose scale multiplies the update as it is. Source: tuner/utils.py and tuner/lora.py of mlx-lm.

import { join } from 'node:path'
import { check } from '../errors.ts'
import { writeFolderAtomic } from '../io/atomic.ts'
import { pyFloat, writeJson } from '../io/json.ts'
import { transposedBytes } from '../io/transpose.ts'
import { nth } from '../tuple.ts'
import type { Adapter } from './adapter.ts'
import { writeChecked } from './files.ts'
import type { Matrix } from './linearAlgebra.ts'
import { alike, plainFactors } from './plainLora.ts'

const ownFiles = ['adapters.safetensors', 'adapter_config.json']

/**
 * Writes a LoRA adapter of a decoder as a folder that mlx-lm takes beside a base (`--adapter-path`). A folder has one
 * scale for all layers; where scales differ, B holds what it cannot say.
 * @throws ERR_UNSUPPORTED for what is no plain LoRA of linear layers, ranks that differ, and families whose layers
 * mlx-lm names otherwise; ERR_OPTION where `dir` holds files that are not an adapter's
 */
export async function saveMlx(adapter: Adapter, dir: string): Promise<void> {
  const { strength, factors } = alike(await plainFactors(adapter, 'saveMlx'))
  const rank = nth(factors, 0).a.rows
  for (const { path, a } of factors) {
    check(/^model\.layers\.\d+\./.test(path), 'ERR_UNSUPPORTED', () => {
      return `saveMlx: ${path} has another name in mlx-lm; decoders of Llama's kind are written`
    })
    check(a.rows === rank, 'ERR_UNSUPPORTED', () => {
      return `saveMlx: ${path} has the rank ${a.rows}, another layer ${rank}, and mlx-lm has one; convert it with rank`
    })
  }
  const tensor = (name: string, { rows, columns, data }: Matrix) => {
    const bytes = new Uint8Array(Float32Array.from(data).buffer)
    return { name, dtype: 'F32' as const, shape: [columns, rows], data: transposedBytes(bytes, rows, columns) }
  }
  const tensors = factors.flatMap(({ path, a, b }) => [tensor(`${path}.lora_a`, a), tensor(`${path}.lora_b`, b)])
  const keys = factors.map(({ path }) => path)
  const parameters = { rank, scale: pyFloat(strength / rank), dropout: pyFloat(0), keys }
  const config = { fine_tune_type: 'lora', num_layers: adapter.host.backbone.layers, lora_parameters: parameters }
  await writeFolderAtomic(
    dir,
    async into => {
      await writeChecked(join(into, 'adapters.safetensors'), tensors)
      await writeJson(join(into, 'adapter_config.json'), config)
    },
    { owns: name => ownFiles.includes(name) },
  )
}
