// Layers by number.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { attach, loadAdapter, lora, saveAdapter } from '../../lib/peft/index.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { tinyModel } from './golden.ts'

test('all linear layers of some layers are those, and the file names them with their numbers, as PEFT reads it', async () => {
  using model = await tinyModel('bert-seq')
  const attached = attach(model, lora({ targetModules: 'all-linear', layersToTransform: [1] }))
  const paths = attached.matched.map(({ path }) => path)
  assert.is(paths.length, 6)
  for (const path of paths) assert.ok(path.startsWith('bert.encoder.layer.1.'), path)
  const folder = join(temporaryFolder(), 'adapter')
  await saveAdapter(attached, folder)
  const config = JSON.parse(readFileSync(join(folder, 'adapter_config.json'), 'utf8'))
  assert.equal(config.layers_to_transform, [1])
  assert.ok(Array.isArray(config.target_modules))
  attached.detach()
  const again = await loadAdapter(model, folder)
  assert.equal(
    again.matched.map(({ path }) => path),
    paths,
  )
})

test.run()
