// Adapters and the hub: what was trained on a model of it names that, and is opened elsewhere by it.
// timeout: 300

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { attach, bundled, loadModel, lora, open, saveAdapter } from '../../lib/index.ts'
import { loadAdapter } from '../../lib/peft/index.ts'
import { cli, records, reviews, workFolder, writeJsonl } from '../cli/support.ts'
import { COMMIT, HubServer } from './server.ts'

const server = await HubServer.start()
const cwd = workFolder()
const filesOf = (folder: string) =>
  Object.fromEntries(
    readdirSync(folder, { withFileTypes: true })
      .filter(entry => entry.isFile())
      .map(({ name }) => [name, readFileSync(join(folder, name))]),
  )
server.models.set('me/tiny', filesOf(bundled.encoder))
delete process.env.HF_HUB_OFFLINE
process.env.HF_ENDPOINT = server.endpoint
/** Another machine: nothing is in its cache. */
const elsewhere = (name: string): void => {
  process.env.HF_HOME = join(cwd, name)
}
const json = (...path: string[]) => JSON.parse(readFileSync(join(cwd, ...path), 'utf8'))
const quick = ['--max-steps', '4', '--batch-size', '8', '--no-evaluate-before', '--out', 'run']

test.after(() => server.close())

test('a run on a model of the hub names it and its commit, and is opened where neither is', async () => {
  elsewhere('here')
  writeJsonl(join(cwd, 'data.jsonl'), reviews(40))
  const { code, stderr } = await cli(['train', 'data.jsonl', '--model', 'me/tiny', '--revision', 'v1', ...quick], {
    cwd,
  })
  assert.is(code, 0, stderr)
  assert.match(stderr, /fetched \d files of me\/tiny/)
  const config = json('run', 'adapter', 'adapter_config.json')
  assert.equal([config.base_model_name_or_path, config.revision], ['me/tiny', COMMIT])
  const { base, base_model, extra } = json('run', 'adapter', 'lowrank.json')
  assert.equal([base.name, base.revision, base_model, extra.tokenizer], ['me/tiny', COMMIT, 'me/tiny', 'me/tiny'])
  for (const file of readdirSync(join(cwd, 'run', 'adapter')).filter(name => /\.(json|md)$/.test(name)))
    assert.not(readFileSync(join(cwd, 'run', 'adapter', file), 'utf8').includes(cwd), file)
  assert.match(readFileSync(join(cwd, 'run', 'adapter', 'README.md'), 'utf8'), /base_model:adapter:me\/tiny/)
  const here = await open(join(cwd, 'run'))
  const said = await here.predict('the film was great')
  here.dispose()
  elsewhere('there')
  server.asked()
  const there = await open(join(cwd, 'run'))
  assert.equal(await there.predict('the film was great'), said)
  there.dispose()
  assert.ok(server.asked().includes(`GET /api/models/me/tiny/revision/${COMMIT}`))
  assert.ok(existsSync(join(cwd, 'there', 'hub', 'models--me--tiny', 'snapshots', COMMIT, 'config.json')))
})

test('an adapter of the hub is opened by its name, from code and by commands', async () => {
  server.models.set('me/adapter', filesOf(join(cwd, 'run', 'adapter')))
  elsewhere('third')
  const model = await open('me/adapter')
  const { label } = await model.predict('the film was great')
  model.dispose()
  const { code, stdout, stderr } = await cli(['predict', 'me/adapter', 'the film was great', '--json'], { cwd })
  assert.is(code, 0, stderr)
  assert.is(records(stdout)[0]!.label, label)
  const misplaced = await cli(['predict', 'me/adapter', 'text', '--revision', 'v1'], { cwd })
  assert.match(misplaced.stderr, /ERR_OPTION: (?:--)?revision: v1 .*write it as name@revision/)
})

test('an adapter that PEFT made on a model of the hub finds it', async () => {
  elsewhere('fourth')
  const base = await loadModel('me/tiny@v1', { task: 'masked-lm' })
  const made = attach(base, lora({ r: 4 }))
  const folder = await saveAdapter(made, join(cwd, 'plain'))
  made.dispose()
  const config = json('plain', 'adapter_config.json')
  assert.equal([config.base_model_name_or_path, config.revision], ['me/tiny', COMMIT])
  const { 'lowrank.json': _, ...peft } = filesOf(folder)
  server.models.set('me/peft', peft)
  elsewhere('fifth')
  const adapter = await loadAdapter(base, 'me/peft')
  assert.is(adapter.matched.length, made.matched.length)
  base.dispose()
  const opened = await open('me/peft', { task: 'masked-lm' })
  assert.is(opened.task, 'masked-lm')
  opened.dispose()
})

test.run()
