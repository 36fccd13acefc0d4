import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { lockFolder } from '../../lib/io/lock.ts'
import { temporaryFolder } from '../support/temporary.ts'

const dir = temporaryFolder()
const path = join(dir, '.lowrank-lock')

const refused = (): string => {
  try {
    lockFolder(dir).release()
    return ''
  } catch (error) {
    assert.is((error as { code: string }).code, 'ERR_OPTION')
    return (error as Error).message
  }
}
/** The lock as this process writes it, changed. */
function forge(change: object, age = 0): void {
  rmSync(path, { force: true })
  const lock = lockFolder(dir)
  const owner = JSON.parse(readFileSync(path, 'utf8'))
  lock.release()
  writeFileSync(path, JSON.stringify({ ...owner, token: 'of another', ...change }))
  const then = new Date(Date.now() - age)
  utimesSync(path, then, then)
}

test('one holder at a time, in one process too; released, nothing is left', () => {
  const lock = lockFolder(dir)
  assert.match(refused(), new RegExp(`is being written by process ${process.pid}; wait for it`))
  lock.release()
  assert.is(refused(), '')
  assert.equal(readdirSync(dir), [])
})

test('the lock of a dead process is taken over, at once', async () => {
  const child = spawn(process.execPath, ['-e', ''])
  await new Promise(resolve => child.on('close', resolve))
  forge({ pid: child.pid })
  assert.is(refused(), '')
})

test('a process of the same id that began at another time is another', () => {
  if (process.platform !== 'linux') return
  forge({ started: '1' })
  assert.is(refused(), '')
})

test('a lock that its holder could not remove is free to the next of the same process', () => {
  const lock = lockFolder(dir)
  const text = readFileSync(path, 'utf8')
  lock.release()
  writeFileSync(path, text)
  assert.is(refused(), '')
  assert.equal(readdirSync(dir), [])
})

test('of another machine or container, silence tells', () => {
  forge({ machine: 'elsewhere boot pid:[1]' })
  assert.match(refused(), /by process \d+ on elsewhere/)
  forge({ machine: 'elsewhere boot pid:[1]' }, 600_000)
  assert.is(refused(), '')
})

test('a broken lock holds nobody up for long, and a lock that was taken over is not released', () => {
  writeFileSync(path, '{"pid":')
  const then = new Date(Date.now() - 600_000)
  utimesSync(path, then, then)
  const lock = lockFolder(dir)
  writeFileSync(path, 'of another')
  lock.release()
  assert.is(readFileSync(path, 'utf8'), 'of another')
  rmSync(path)
})

test.run()
