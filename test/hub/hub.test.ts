// Models by their names on the hub: fetched from a server of this machine into a cache laid out as Python's.

import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { localFolder } from '../../lib/hub/folder.ts'
import { hubIdOf, hubOrigin } from '../../lib/hub/id.ts'
import { hubSettings } from '../../lib/hub/settings.ts'
import { bundled, LowrankError, loadModel, loadTokenizer } from '../../lib/index.ts'
import { faults } from '../../lib/io/atomic.ts'
import { cli, workFolder } from '../cli/support.ts'
import { answer, COMMIT, etagOf, type Fault, HubServer } from './server.ts'

const test = suite('hub')
const server = await HubServer.start()
const cwd = workFolder()
const read = (name: string): Uint8Array => readFileSync(join(bundled.encoder, name))
const weights = read('model.safetensors')
const encoder = {
  'config.json': read('config.json'),
  'model.safetensors': weights,
  'tokenizer.json': read('tokenizer.json'),
  'tokenizer_config.json': read('tokenizer_config.json'),
}
const extras = { 'README.md': Buffer.from('# a card'), 'pytorch_model.bin': weights, 'onnx/model.onnx': weights }
let cache = ''

test.before.each(({ __test__ }) => {
  cache = join(cwd, __test__.replace(/\W+/g, '-').slice(0, 60))
  server.models.clear()
  server.models.set('me/tiny', { ...encoder, ...extras })
  server.faults.clear()
  server.etags.clear()
  server.asked()
  const env = { HF_ENDPOINT: server.endpoint, HF_HOME: cache, HF_TOKEN: 'secret' }
  for (const name of ['HF_HUB_OFFLINE', 'HF_HUB_CACHE', 'HF_TOKEN_PATH']) delete process.env[name]
  Object.assign(process.env, env)
})
test.after(() => server.close())

const find = (name: string, purpose: 'model' | 'trained' | 'tokenizer' = 'model', revision?: string) =>
  localFolder(name, { option: 'model', purpose, revision, cure: 'name another' })
const told = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'done',
    error => (error instanceof LowrankError ? `${error.code}: ${error.message}` : `${error}`),
  )
const freshCache = (): void => {
  cache += '-fresh'
  process.env.HF_HOME = cache
}
const repository = () => join(cache, 'hub', 'models--me--tiny')
const status =
  (code: number, reason?: string): Fault =>
  (_, response) => {
    answer(response, code, reason)
    return true
  }
/** Breaks the connection after so many bytes of the weights. */
const cutAfter =
  (bytes: number): Fault =>
  (request, response) => {
    const from = Number(/\d+/.exec(request.headers.range ?? '')?.[0] ?? 0)
    const size = weights.byteLength
    response.writeHead(from > 0 ? 206 : 200, {
      'content-length': size - from,
      ...(from > 0 && { 'content-range': `bytes ${from}-${size - 1}/${size}` }),
    })
    response.write(weights.subarray(from, from + bytes), () => response.destroy())
    return true
  }
const atCdn = `GET /me/tiny/resolve/${COMMIT}/model.safetensors`
/** Faults of the CDN alone: the hub's redirect to it passes. */
const pass: Fault = () => false

test('a model and its tokenizer by name: the cache is as Python lays it out, the token stays with the hub', async () => {
  const model = await loadModel('me/tiny', { task: 'masked-lm' })
  const tokenizer = await loadTokenizer('me/tiny')
  const folder = join(repository(), 'snapshots', COMMIT)
  assert.is(model.path, folder)
  model.dispose()
  assert.ok(tokenizer.encode('a text').ids.length > 2)
  assert.is(readFileSync(join(repository(), 'refs', 'main'), 'utf8'), COMMIT)
  for (const [name, bytes] of Object.entries(encoder)) {
    const blob = `../../blobs/${etagOf(name, bytes)}`
    assert.ok(lstatSync(join(folder, name)).isSymbolicLink(), name)
    assert.is(readlinkSync(join(folder, name)), blob)
    assert.equal(readFileSync(join(folder, name)), bytes)
  }
  assert.equal(readdirSync(folder).sort(), Object.keys(encoder).sort())
  assert.is(readdirSync(join(repository(), 'blobs')).length, 4)
  const tokens = (host: string) => [
    ...new Set(server.seen.filter(each => each.host === host).map(({ token }) => token)),
  ]
  assert.equal([tokens('hub'), tokens('cdn')], [['Bearer secret'], [undefined]])
})

test('what is here is not fetched again: a branch asks for its commit, a commit for nothing', async () => {
  const first = await find('me/tiny', 'model', 'v1')
  assert.is(readFileSync(join(repository(), 'refs', 'v1'), 'utf8'), COMMIT)
  server.asked()
  assert.is(await find('me/tiny@v1'), first)
  assert.equal(server.asked(), ['GET /api/models/me/tiny/revision/v1'])
  assert.is(await find(`me/tiny@${COMMIT}`), first)
  assert.equal(server.asked(), [])
  assert.equal(hubOrigin(first), { id: 'me/tiny', revision: COMMIT })
})

test('a broken connection is taken up where it ended', async () => {
  server.fail(atCdn, pass, cutAfter(1_000_000), pass, cutAfter(2_000_000))
  const folder = await find('me/tiny')
  assert.equal(readFileSync(join(folder, 'model.safetensors')), weights)
  const ranges = server.seen.filter(({ host, method }) => host === 'cdn' && method === 'GET').map(({ range }) => range)
  assert.is(ranges.length, 3)
  assert.is(ranges[0], undefined)
  const [second, third] = ranges.slice(1).map(range => Number(/^bytes=(\d+)-$/.exec(range!)![1]))
  assert.ok(second! > 0 && third! > second! && third! <= 3_000_000, ranges.join())
})

test('what an earlier process left is gone on with; what it left wrong is fetched anew', async () => {
  const blob = join(repository(), 'blobs', etagOf('model.safetensors', weights))
  const partial = `${blob}.lowrank-incomplete`
  mkdirSync(join(repository(), 'blobs'), { recursive: true })
  writeFileSync(partial, weights.subarray(0, 5_000_000))
  await find('me/tiny')
  const range = () => server.seen.findLast(({ host, method }) => host === 'cdn' && method === 'GET')!.range
  assert.is(range(), 'bytes=5000000-')
  assert.not(existsSync(partial))
  freshCache()
  mkdirSync(join(repository(), 'blobs'), { recursive: true })
  const wrong = join(repository(), 'blobs', `${etagOf('model.safetensors', weights)}.lowrank-incomplete`)
  writeFileSync(wrong, new Uint8Array(3_000_000))
  const folder = await find('me/tiny')
  assert.is(range(), undefined)
  assert.equal(readFileSync(join(folder, 'model.safetensors')), weights)
})

test('a server that knows no ranges sends the whole, which is taken from its beginning', async () => {
  const whole: Fault = (_, response) => {
    response.writeHead(200, { 'content-length': weights.byteLength })
    response.end(weights)
    return true
  }
  server.fail(atCdn, pass, cutAfter(1_000_000), pass, whole)
  assert.equal(readFileSync(join(await find('me/tiny'), 'model.safetensors')), weights)
})

test('other bytes than the hash says are refused and not kept', async () => {
  server.etags.set('model.safetensors', 'a'.repeat(64))
  assert.match(
    await told(find('me/tiny')),
    /ERR_HUB: model: .*model.safetensors of me\/tiny came with other bytes than its hash a{64}; fetch it again/,
  )
  assert.not(readdirSync(join(repository(), 'blobs')).some(name => name.startsWith('a'.repeat(64))))
  server.etags.clear()
  freshCache()
  server.etags.set('tokenizer.json', 'b'.repeat(40))
  assert.match(await told(find('me/tiny', 'tokenizer')), /tokenizer.json of me\/tiny came with other bytes/)
})

test('errors that pass are waited for; those that stay are told', async () => {
  server.fail('GET /revision/main', status(500), status(503))
  server.fail('HEAD /config.json', status(502), status(429))
  const folder = await find('me/tiny')
  const ever = Array.from({ length: 5 }, () => status(500))
  server.fail('GET /revision/main', ...ever)
  const warned = new Promise<string>(resolve => process.once('warning', ({ message }) => resolve(message)))
  assert.is(await find('me/tiny'), folder)
  assert.match(await warned, /HTTP 500.*taking me\/tiny from the cache, as of commit c0ffee/)
  freshCache()
  server.fail('GET /revision/main', ...ever)
  assert.match(await told(find('me/tiny')), /ERR_HUB: .* cannot be reached \(.*HTTP 500.*`hf download me\/tiny`/)
})

test('refusals say what to do', async () => {
  const path = 'GET /revision/main'
  server.fail(path, status(403, 'GatedRepo'))
  assert.match(await told(find('me/tiny')), /ERR_HUB: .*accept them at http:\S+\/me\/tiny, then set HF_TOKEN/)
  assert.match(await told(find('me/secret')), /ERR_HUB: .*HTTP 401, the token that is set does not do.*private/)
  server.fail(path, status(401))
  delete process.env.HF_TOKEN
  assert.match(await told(find('me/tiny')), /HTTP 401, no token is set/)
  process.env.HF_TOKEN = 'secret'
  assert.match(await told(find('me/tiny@v2')), /has no such revision \(model me\/tiny at revision v2\)/)
  await find('me/tiny')
  server.models.clear()
  assert.match(await told(find('me/tinny')), /there is no folder me\/tinny \(did you mean "me\/tiny"\?\)/)
  server.models.set('me/data', { 'data.csv': Buffer.from('a,b') })
  assert.match(await told(find('me/data')), /holds no file of a model/)
})

test('redirects: within the hub followed with the token, in circles and to pages refused', async () => {
  const to =
    (location: string): Fault =>
    (_, response) => {
      response.writeHead(307, { location })
      response.end()
      return true
    }
  server.fail('GET /api/models/old/revision/main', to('/api/models/me/tiny/revision/main'))
  const renamed = `/old/resolve/${COMMIT}/`
  for (const name of ['config.json', 'tokenizer.json', 'tokenizer_config.json'])
    for (const method of ['HEAD', 'GET'])
      server.fail(`${method} ${renamed}${name}`, to(`/me/tiny/resolve/${COMMIT}/${name}`))
  assert.match(await find('old', 'tokenizer'), /models--old/)
  assert.equal([...new Set(server.seen.map(({ token }) => token))], ['Bearer secret'])
  const circle = Array.from({ length: 9 }, () => to('/api/models/me/tiny/revision/main'))
  server.fail('GET /revision/main', ...circle)
  assert.match(await told(find('me/tiny')), /ERR_HUB: .*redirects .* more than 5 times, last to 127/)
  server.fail('GET /revision/main', (_, response) => {
    response.end('<html>Please log in</html>')
    return true
  })
  assert.match(await told(find('me/tiny')), /answers with something else .*<html>Please log in.*log in to the network/)
})

test('without a network the cache serves, and an empty one says what to do', async () => {
  const folder = await find('me/tiny')
  process.env.HF_HUB_OFFLINE = '1'
  server.asked()
  assert.is(await find('me/tiny'), folder)
  assert.equal(server.asked(), [])
  assert.match(await told(find('me/tiny@v1')), /ERR_HUB: .*HF_HUB_OFFLINE is set .* does not hold it \(v1\); unset it/)
  delete process.env.HF_HUB_OFFLINE
  const gone = await HubServer.start()
  process.env.HF_ENDPOINT = gone.endpoint
  gone.close()
  assert.is(await find('me/tiny'), folder)
  assert.match(
    await told(find('me/other')),
    /there is no folder me\/other, and hub: http:\/\/127.0.0.1:\d+ cannot be reached \(.*ECONNREFUSED\); fetch it .*`hf download me\/other`.*or name a folder/,
  )
  assert.match(await told(find('./me/other')), /ERR_CONFIG: model: there is no folder .\/me\/other; name another/)
})

test('a full disk is told, and what came is gone on with', async () => {
  faults.write = path => {
    if (path.includes(etagOf('model.safetensors', weights))) throw Object.assign(new Error('full'), { code: 'ENOSPC' })
  }
  assert.match(await told(find('me/tiny')), /ERR_HUB: .*me\/tiny takes \S+ GB more, the disk of .* HF_HUB_CACHE/)
  faults.write = undefined
  await find('me/tiny')
})

test('a path that exists wins, and has no revisions', async () => {
  mkdirSync(join(cwd, 'work', 'me', 'tiny'), { recursive: true })
  const before = process.cwd()
  process.chdir(join(cwd, 'work'))
  try {
    assert.is(await find('me/tiny'), 'me/tiny')
    assert.match(await told(find('me/tiny', 'model', 'v1')), /ERR_OPTION: revision: model is the folder me\/tiny/)
  } finally {
    process.chdir(before)
  }
  assert.equal(server.asked(), [])
})

test('two processes that want one model fetch it once', async () => {
  // The weights come when both have asked for the list, and the second has had time to find the first at work.
  const askedTwice = () => server.seen.filter(({ path }) => path.startsWith('/api/models/me/tiny')).length === 2
  const slow: Fault = (_, response) => {
    const timer = setInterval(() => {
      if (!askedTwice()) return
      clearInterval(timer)
      setTimeout(() => {
        response.writeHead(200, { 'content-length': weights.byteLength })
        response.end(weights)
      }, 2000)
    }, 50)
    return true
  }
  server.fail(atCdn, pass, slow)
  const runs = await Promise.all([1, 2].map(() => cli(['inspect', 'model', 'me/tiny', '--json'], { cwd })))
  for (const { code, stderr } of runs) assert.is(code, 0, stderr)
  assert.is(server.seen.filter(({ host, method }) => host === 'cdn' && method === 'GET').length, 1)
  const said = runs.map(({ stderr }) => stderr).join('')
  assert.match(said, /fetched 4 files of me\/tiny, [0-9.]+ MiB/)
  assert.match(said, /process \d+ is fetching me\/tiny too; waiting for it/)
})

test('shards by their index; pickles only where there are no safetensors', async () => {
  const index = { weight_map: { a: 'model-1.safetensors', b: 'model-2.safetensors', c: 'model-1.safetensors' } }
  const shard = (text: string) => Buffer.from(text)
  server.models.set('me/tiny', {
    'config.json': encoder['config.json'],
    'model.safetensors.index.json': Buffer.from(JSON.stringify(index)),
    'model-1.safetensors': shard('1'),
    'model-2.safetensors': shard('2'),
    'model-3.safetensors': shard('3'),
    'pytorch_model.bin': weights,
  })
  const folder = await find('me/tiny')
  const names = ['config.json', 'model-1.safetensors', 'model-2.safetensors', 'model.safetensors.index.json']
  assert.equal(readdirSync(folder).sort(), names)
  const old = { 'config.json': encoder['config.json'], 'pytorch_model.bin': shard('old'), 'tf_model.h5': shard('tf') }
  server.models.set('me/old', old)
  assert.equal(readdirSync(await find('me/old')).sort(), ['config.json', 'pytorch_model.bin'])
})

test('names that lead out of the folder are left', async () => {
  const hostile = {
    '../../../evil.json': Buffer.from('{}'),
    'additional_chat_templates/../../x.jinja': Buffer.from(''),
  }
  server.models.set('me/tiny', { ...encoder, ...hostile })
  const folder = await find('me/tiny')
  assert.equal(readdirSync(folder).sort(), Object.keys(encoder).sort())
})

test('what is an id of the hub, and what is a path', () => {
  for (const id of ['gpt2', 'Qwen/Qwen2.5-0.5B-Instruct', 'a/b_c.d'])
    assert.equal(hubIdOf(id), { id, revision: undefined })
  assert.equal(hubIdOf('a/b@refs/pr/1'), { id: 'a/b', revision: 'refs/pr/1' })
  assert.equal(hubIdOf('a/b/q4/c.gguf@v1'), { id: 'a/b', revision: 'v1', file: 'q4/c.gguf' })
  const paths = [
    './a/b/c.gguf',
    'a/b/../c.gguf',
    './a',
    '../a',
    '/a/b',
    'a/b/c',
    '~/a',
    'a/b.gguf',
    'C:\\a',
    'a--b',
    'a/..b',
    '',
    'a/b@',
    'a/b@../x',
    'a b',
  ]
  for (const path of paths) assert.is(hubIdOf(path), undefined, path)
})

test('the variables that Python reads', () => {
  writeFileSync(join(cwd, 'token'), 'hf_file\n')
  const home = { HF_HOME: cwd }
  const base = { endpoint: 'https://huggingface.co', token: 'hf_file', cache: join(cwd, 'hub'), isOffline: false }
  assert.equal(hubSettings(home), base)
  assert.equal(
    hubSettings({ ...home, HF_TOKEN: ' t ', HF_HUB_CACHE: '/c', HF_ENDPOINT: 'http://m/', HF_HUB_OFFLINE: 'ON' }),
    {
      endpoint: 'http://m',
      token: 't',
      cache: '/c',
      isOffline: true,
    },
  )
  assert.is(hubSettings({ XDG_CACHE_HOME: '/x', HF_TOKEN: 't' }).cache, '/x/huggingface/hub')
})

test.run()
