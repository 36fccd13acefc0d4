// One cache for both: what is fetched here Python's huggingface_hub finds, and what it fetches is found here.
// timeout: 120

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { localFolder } from '../../lib/hub/folder.ts'
import { bundled } from '../../lib/index.ts'
import { workFolder } from '../cli/support.ts'
import { HubServer } from './server.ts'

const python = process.env.LOWRANK_PYTHON
const server = await HubServer.start()
const names = ['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json']

/** Runs a program of one expression on huggingface_hub. */
async function ask(expression: string): Promise<string> {
  const program = `import huggingface_hub as h; print(${expression})`
  const child = spawn(python!, ['-c', program], { env: process.env, stdio: ['ignore', 'pipe', 'inherit'] })
  let text = ''
  child.stdout.on('data', (part: Buffer) => {
    text += part
  })
  const [code] = await once(child, 'close')
  assert.is(code, 0, expression)
  return text.trim()
}

test.after(() => server.close())

test('Python finds what was fetched here, and this what Python fetched', async () => {
  if (!python) return console.log('skip: LOWRANK_PYTHON names no Python with huggingface_hub')
  server.models.set('me/tiny', Object.fromEntries(names.map(name => [name, readFileSync(join(bundled.encoder, name))])))
  const cwd = workFolder()
  Object.assign(process.env, { HF_ENDPOINT: server.endpoint, HF_HOME: join(cwd, 'ours'), HF_HUB_DISABLE_XET: '1' })
  delete process.env.HF_HUB_OFFLINE
  const find = () => localFolder('me/tiny', { option: 'model', purpose: 'model', cure: '' })
  const folder = await find()
  assert.is(await ask(`h.snapshot_download('me/tiny', local_files_only=True)`), folder)
  assert.is(await ask(`h.try_to_load_from_cache('me/tiny', 'model.safetensors')`), join(folder, 'model.safetensors'))
  assert.is(await ask(`len(h.scan_cache_dir().warnings)`), '0')
  server.asked()
  assert.is(await ask(`h.hf_hub_download('me/tiny', 'model.safetensors')`), join(folder, 'model.safetensors'))
  assert.not(server.asked().some(line => line.startsWith('GET') && line.endsWith('model.safetensors')))
  process.env.HF_HOME = join(cwd, 'theirs')
  const all = `[h.hf_hub_download('me/tiny', name) for name in ${JSON.stringify(names)}]`
  const theirs = dirname(await ask(`${all}[0]`))
  process.env.HF_HUB_OFFLINE = '1'
  assert.is(await find(), theirs)
})

test.run()
