// GGUF models in several files, and those of a hub: what they hold, and what is refused.

import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { LowrankError } from '../../lib/errors.ts'
import { hubOrigin } from '../../lib/hub/id.ts'
import { referenceOf } from '../../lib/hub/reference.ts'
import { openGguf } from '../../lib/io/gguf/file.ts'
import { type GgufEntry, writeGguf } from '../../lib/io/gguf/write.ts'
import { packageRoot } from '../../lib/io/package.ts'
import { loadModel } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { pack } from '../../lib/nn/batch.ts'
import { loadTokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { nth } from '../../lib/tuple.ts'
import { HubServer } from '../hub/server.ts'
import { logitsOf, withFolder } from '../peft/golden.ts'
import { compare } from '../support/compare.ts'

const WHOLE = join(packageRoot, 'test/golden/gguf/blocks.gguf')
const nameOf = (i: number, count: number) =>
  `m-${String(i + 1).padStart(5, '0')}-of-${String(count).padStart(5, '0')}.gguf`

/** Splits the file as llama-gguf-split does: the first piece has the metadata, all say which they are. */
async function split(into: string, count: number, tensorCount?: number): Promise<string[]> {
  const file = openGguf(WHOLE)
  try {
    const tensors = [...file.tensors.values()]
    const paths = Array.from({ length: count }, (_, i) => join(into, nameOf(i, count)))
    for (const [i, path] of paths.entries()) {
      const own = tensors.filter((_, k) => k % count === i)
      const place: GgufEntry[] = [
        ['split.no', { u32: i }],
        ['split.count', { u32: count }],
        ['split.tensors.count', { u32: tensorCount ?? tensors.length }],
      ]
      const rest = i === 0 ? [...file.metadata.keys()].map((key): GgufEntry => [key, { raw: file.entry(key) }]) : []
      const written = own.map(({ name, type, shape }) => {
        return { name, type: type.name, shape, data: async () => file.read(name) }
      })
      await writeGguf(path, [...place, ...rest], written)
    }
    return paths
  } finally {
    file.close()
  }
}

const refused = async (path: string, message: RegExp) => {
  const error = await loadModel(path, { task: 'causal-lm' }).then(
    () => undefined,
    (reason: LowrankError) => reason,
  )
  assert.is(error?.code, 'ERR_CHECKPOINT')
  assert.match(error?.message ?? '', message)
}

test('a model in three files is the model in one', async () => {
  const before = native.live()
  await withFolder(async dir => {
    const first = nth(await split(dir, 3), 0)
    const models = [
      await loadModel(first, { task: 'causal-lm' }),
      await loadModel(WHOLE, { task: 'causal-lm' }),
    ] as const
    assert.is(models[0].storage, 'blocks')
    assert.equal([...models[0].parameters.keys()].sort(), [...models[1].parameters.keys()].sort())
    const batch = pack([Int32Array.of(3, 10, 17, 24)])
    compare('logits', await logitsOf(models[0], batch), await logitsOf(models[1], batch), { absolute: 0 })
    for (const model of models) model.dispose()
  })
  assert.is(native.live(), before)
})

test('pieces that are missing, later, renamed or not those of the first are refused by name', async () => {
  await withFolder(async dir => {
    const [first, second, third] = (await split(dir, 3)) as [string, string, string]
    await refused(second, /later piece of a model; name the first, .*m-00001-of-00003\.gguf/)
    rmSync(third)
    await refused(first, /1 of its 3 pieces are not here \(.*m-00003-of-00003\.gguf\)/)
  })
  await withFolder(async dir => {
    const [first] = (await split(dir, 2, 7)) as [string]
    await refused(first, /its 2 pieces hold \d+ tensors, it says 7/)
  })
})

test('the hash that an adapter remembers is that of all pieces', async () => {
  await withFolder(async dir => {
    const [first, second] = (await split(dir, 2)) as [string, string]
    const reference = await referenceOf(first)
    assert.is(reference?.name, basename(first))
    const bytes = readFileSync(second)
    bytes[bytes.length - 1]! ^= 1
    rmSync(second)
    writeFileSync(second, bytes)
    assert.is.not((await referenceOf(first))?.sha256, reference?.sha256)
  })
})

test('a GGUF file of the hub is fetched by its path there, with all its pieces and nothing else', async () => {
  const server = await HubServer.start()
  const saved = { ...process.env }
  try {
    await withFolder(async dir => {
      const pieces = await split(dir, 2)
      const files = Object.fromEntries(pieces.map(path => [`q4/${basename(path)}`, new Uint8Array(readFileSync(path))]))
      server.models.set('me/ggufs', { ...files, 'other.gguf': new Uint8Array(8), 'README.md': Buffer.from('# card') })
      for (const variable of ['HF_HUB_OFFLINE', 'HF_HUB_CACHE']) delete process.env[variable]
      Object.assign(process.env, { HF_ENDPOINT: server.endpoint, HF_HOME: join(dir, 'cache') })
      const name = `me/ggufs/q4/${nameOf(0, 2)}`
      const model = await loadModel(name, { task: 'causal-lm' })
      assert.is(hubOrigin(model.path ?? '')?.id, name)
      const fetched = server.asked().filter(path => path.includes('/resolve/'))
      assert.ok(fetched.length > 0 && fetched.every(path => path.includes('/q4/m-0000')), JSON.stringify(fetched))
      model.dispose()
      process.env.HF_HUB_OFFLINE = '1'
      assert.ok((await loadTokenizer(name)).encode('a').ids.length > 0)
      delete process.env.HF_HUB_OFFLINE
      const error = await loadModel('me/ggufs', { task: 'causal-lm' }).catch((reason: LowrankError) => reason)
      assert.match(error instanceof Error ? error.message : '', /GGUF files: name one, as in owner\/name\//)
    })
  } finally {
    for (const name of ['HF_ENDPOINT', 'HF_HOME', 'HF_HUB_OFFLINE', 'HF_HUB_CACHE'])
      if (saved[name] === undefined) delete process.env[name]
      else process.env[name] = saved[name]
    server.close()
  }
})

test.run()
