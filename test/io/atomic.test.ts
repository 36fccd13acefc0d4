import { spawnSync } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { suite } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import {
  faults,
  recoverFolder,
  sha256File,
  streamFileAtomic,
  writeFileAtomic,
  writeFolderAtomic,
} from '../../lib/io/atomic.ts'
import { temporaryFolder } from '../support/temporary.ts'

const test = suite<{ dir: string }>('atomic', { dir: '' })

test.before.each(context => {
  context.dir = temporaryFolder()
})
test.after.each(context => {
  faults.write = undefined
  rmSync(context.dir, { recursive: true, force: true })
})

function injected(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code })
}

async function rejected(promise: Promise<unknown>): Promise<LowrankError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  assert.instance(error, LowrankError)
  return error as LowrankError
}

/** A process id that is certainly free: that of a child which has ended. */
function endedPid(): number {
  return spawnSync(process.execPath, ['-e', '']).pid
}

test('writes bytes and text, makes folders, replaces, sets mode 0644', async ({ dir }) => {
  const path = join(dir, 'a', 'b', 'file.txt')
  await writeFileAtomic(path, 'grüße')
  assert.is(readFileSync(path, 'utf8'), 'grüße')
  assert.is(statSync(path).mode & 0o777, 0o644)
  await writeFileAtomic(path, Uint8Array.of(1, 2, 3))
  assert.equal([...readFileSync(path)], [1, 2, 3])
  assert.equal(readdirSync(join(dir, 'a', 'b')), ['file.txt'])
})

test('a full disk leaves the old file, no temporary file, and a coded error with path and cure', async ({ dir }) => {
  const path = join(dir, 'x.bin')
  await writeFileAtomic(path, 'old')
  let left = 2
  faults.write = () => {
    if (left-- === 0) throw injected('ENOSPC')
  }
  const error = await rejected(
    streamFileAtomic(path, async sink => {
      for (let i = 0; i < 5; i++) await sink.write(Buffer.from('new'))
    }),
  )
  assert.is(error.code, 'ERR_CHECKPOINT')
  assert.ok(error.message.includes(path) && error.message.includes('disk is full'), error.message)
  assert.is(readFileSync(path, 'utf8'), 'old')
  assert.equal(readdirSync(dir), ['x.bin'])
})

for (const code of ['EACCES', 'EROFS'])
  test(`${code} is an ERR_OPTION that names the path`, async ({ dir }) => {
    faults.write = () => {
      throw injected(code)
    }
    const error = await rejected(writeFileAtomic(join(dir, 'x'), 'y'))
    assert.is(error.code, 'ERR_OPTION')
    assert.ok(error.message.includes(join(dir, 'x')) && error.message.includes(code))
    assert.equal(readdirSync(dir), [])
  })

test('a file on the way and a folder at the place are ERR_OPTION', async ({ dir }) => {
  writeFileSync(join(dir, 'file'), '')
  assert.is((await rejected(writeFileAtomic(join(dir, 'file', 'x'), ''))).code, 'ERR_OPTION')
  mkdirSync(join(dir, 'folder', 'in'), { recursive: true })
  assert.is((await rejected(writeFileAtomic(join(dir, 'folder'), ''))).code, 'ERR_OPTION')
  assert.is((await rejected(writeFolderAtomic(join(dir, 'file'), () => undefined))).code, 'ERR_OPTION')
  assert.equal(readdirSync(dir).sort(), ['file', 'folder'])
})

test('links are replaced, never followed: at the place itself, and under a name that could be guessed', async ({
  dir,
}) => {
  const precious = join(dir, 'precious')
  writeFileSync(precious, 'mine')
  const path = join(dir, 'report.html')
  symlinkSync(precious, path)
  for (const guess of ['report.html.tmp', '.report.html.tmp', `.report.html.tmp-${process.pid}`])
    symlinkSync(precious, join(dir, guess))
  await writeFileAtomic(path, 'new')
  assert.is(readFileSync(precious, 'utf8'), 'mine')
  assert.not.ok(lstatSync(path).isSymbolicLink())
  const folder = join(dir, 'adapter')
  mkdirSync(join(dir, 'other'))
  writeFileSync(join(dir, 'other', 'kept'), 'mine')
  symlinkSync(join(dir, 'other'), folder)
  await writeFolderAtomic(folder, tmp => writeFileSync(join(tmp, 'one'), '1'))
  assert.is(readFileSync(join(dir, 'other', 'kept'), 'utf8'), 'mine')
  assert.equal(readdirSync(join(dir, 'other')), ['kept'])
})

test('what a dead writer left inside a folder does not keep it from being replaced', async ({ dir }) => {
  const target = join(dir, 'model')
  mkdirSync(target)
  for (const name of ['config.json', `.README.md.tmp-${endedPid()}-00000000`]) writeFileSync(join(target, name), '')
  await writeFolderAtomic(target, tmp => writeFileSync(join(tmp, 'config.json'), 'new'), {
    owns: name => name === 'config.json',
  })
  assert.equal(readdirSync(target), ['config.json'])
})

test('a folder is replaced as a whole', async ({ dir }) => {
  const target = join(dir, 'adapter')
  await writeFolderAtomic(target, tmp => writeFileSync(join(tmp, 'one'), '1'))
  await writeFolderAtomic(target, async tmp => {
    assert.ok(existsSync(join(target, 'one')))
    mkdirSync(join(tmp, 'sub'))
    await writeFileAtomic(join(tmp, 'sub', 'two'), '2')
  })
  assert.equal(readdirSync(dir), ['adapter'])
  assert.equal(readdirSync(target), ['sub'])
})

test('a failed fill leaves the old folder and passes the error on', async ({ dir }) => {
  const target = join(dir, 'adapter')
  await writeFolderAtomic(target, tmp => writeFileSync(join(tmp, 'one'), '1'))
  faults.write = () => {
    throw injected('ENOSPC')
  }
  const error = await rejected(writeFolderAtomic(target, tmp => writeFileAtomic(join(tmp, 'one'), '2')))
  assert.is(error.code, 'ERR_CHECKPOINT')
  const own = new TypeError('own')
  const passed = await writeFolderAtomic(target, () => Promise.reject(own)).catch((thrown: unknown) => thrown)
  assert.is(passed, own)
  assert.is(readFileSync(join(target, 'one'), 'utf8'), '1')
  assert.equal(readdirSync(dir), ['adapter'])
})

test('foreign entries and the working directory are never replaced', async ({ dir }) => {
  writeFileSync(join(dir, 'thesis.doc'), 'years')
  const owns = (name: string) => name.startsWith('adapter_')
  const error = await rejected(writeFolderAtomic(dir, () => undefined, { owns }))
  assert.is(error.code, 'ERR_OPTION')
  assert.ok(error.message.includes('thesis.doc'))
  assert.is(readFileSync(join(dir, 'thesis.doc'), 'utf8'), 'years')
  for (const folder of ['.', '..', '/'])
    assert.is((await rejected(writeFolderAtomic(folder, () => undefined))).code, 'ERR_OPTION')
})

test('recovery puts a folder back that was moved aside, and removes leftovers of dead writers only', async ({
  dir,
}) => {
  const dead = endedPid()
  mkdirSync(join(dir, 'step-1'))
  writeFileSync(join(dir, 'step-1', 'w'), 'kept')
  renameSync(join(dir, 'step-1'), join(dir, `.step-1.old-${dead}-00000000`))
  mkdirSync(join(dir, `.step-1.tmp-${dead}-00000001`))
  writeFileSync(join(dir, `.log.tmp-${dead}-00000002`), '')
  writeFileSync(join(dir, `.mine.tmp-${process.pid}-00000003`), '')
  writeFileSync(join(dir, '.gitignore'), '')
  assert.equal(await recoverFolder(dir), ['step-1'])
  assert.equal(readdirSync(dir).sort(), ['.gitignore', `.mine.tmp-${process.pid}-00000003`, 'step-1'])
  assert.is(readFileSync(join(dir, 'step-1', 'w'), 'utf8'), 'kept')
  assert.equal(await recoverFolder(join(dir, 'absent')), [])
})

test('recovery knows a dead process by its start where its id came again, and leaves names of others', async ({
  dir,
}) => {
  if (!existsSync('/proc/self/stat')) return
  const [ours, other] = [`.a.tmp-${process.pid}-ffff0000`, `.b.tmp-${process.pid}-ffff0000`]
  for (const name of [ours, other]) writeFileSync(join(dir, name), '')
  await recoverFolder(dir, name => name === 'a')
  assert.equal(readdirSync(dir), [other])
  await writeFolderAtomic(join(dir, 'b'), () => undefined)
  assert.equal(readdirSync(dir), ['b'])
})

test('sha256File hashes more than one piece and names a missing file', async ({ dir }) => {
  const path = join(dir, 'abc')
  writeFileSync(path, 'abc')
  assert.is(await sha256File(path), 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad')
  writeFileSync(path, Buffer.alloc(3_000_000, 'a'))
  // `head -c 3000000 /dev/zero | tr '\0' a | sha256sum`
  assert.is(await sha256File(path), '2a152c894398719c0570f83fac34ac03a0f6e8e474b995c2403aa5434f7b9dd4')
  assert.is((await rejected(sha256File(join(dir, 'none')))).code, 'ERR_CHECKPOINT')
})

test.run()
