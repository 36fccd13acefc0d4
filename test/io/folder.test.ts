import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { ensureFolder } from '../../lib/io/folder.ts'
import { temporaryFolder } from '../support/temporary.ts'

test('makes every missing folder, and leaves existing ones alone', () => {
  const root = temporaryFolder()
  try {
    const deep = join(root, 'a/b/c')
    ensureFolder(deep)
    ensureFolder(deep)
    assert.ok(existsSync(deep))
    writeFileSync(join(root, 'file'), '')
    assert.throws(() => ensureFolder(join(root, 'file/x/y')), /ENOTDIR/)
  } finally {
    rmSync(root, { recursive: true })
  }
})

test('a file system that refuses new folders is an error, not an endless loop', () => {
  if (!existsSync('/proc/self')) return console.log('skip: there is no /proc')
  assert.throws(() => ensureFolder('/proc/nowhere/a/b'), /ENOENT|EPERM|EACCES|EROFS/)
})

test.run()
