// Models of the hub from the command line: fetched ahead, and spoken with over no adapter.
// timeout: 120

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { COMMIT, HubServer } from '../hub/server.ts'
import { chatModelFolder } from '../support/chatModel.ts'
import { cli, records, workFolder } from './support.ts'

const server = await HubServer.start()
const model = await chatModelFolder()
server.models.set(
  'me/chat',
  Object.fromEntries(readdirSync(model).map(name => [name, readFileSync(join(model, name))])),
)
const env = { HF_ENDPOINT: server.endpoint, HF_HOME: workFolder(), HF_HUB_OFFLINE: '' }

test.after(() => server.close())

test('what was downloaded is used without a network, by generate and chat as a base alone', async () => {
  const fetched = await cli(['download', 'me/chat', '--json'], { env })
  assert.is(fetched.code, 0, fetched.stderr)
  const [folder] = records(fetched.stdout).at(-1)!.folders as string[]
  assert.ok(folder!.endsWith(COMMIT) && existsSync(join(folder!, 'model.safetensors')), folder)
  const offline = { ...env, HF_HUB_OFFLINE: '1' }
  const spoken = ['--model', 'me/chat', '--revision', 'main', '--max-new-tokens', '3', '--json']
  for (const prompts of [['the capital of France'], ['hello', 'you there']]) {
    const { code, stdout, stderr } = await cli(['generate', ...spoken, ...prompts], { env: offline })
    assert.is(code, 0, stderr)
    const said = records(stdout).filter(({ type }) => type === 'generation')
    assert.equal(
      said.map(({ prompt }) => prompt),
      prompts,
    )
  }
  const chat = await cli(['chat', '--model', model, '--max-new-tokens', '3', '--json'], {
    input: 'hello\n',
    env: offline,
  })
  assert.is(chat.code, 0, chat.stderr)
})

test('what the hub does not have is told', async () => {
  const { code, stderr } = await cli(['download', 'me/none'], { env })
  assert.is(code, 1)
  assert.match(stderr, /ids: .*me\/none/)
})

test.run()
