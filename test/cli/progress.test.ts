import { EventEmitter } from 'node:events'
import { stripVTControlCharacters } from 'node:util'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { bytesText, shortCountText } from '../../lib/cli/terminal/format.ts'
import { createProgress } from '../../lib/cli/terminal/progress.ts'
import { displayWidth } from '../../lib/cli/terminal/table.ts'
import { clockText } from '../../lib/report/format.ts'

class FakeStream extends EventEmitter {
  isTTY: boolean
  columns = 80
  text = ''
  broken = false

  constructor(isTTY: boolean) {
    super()
    this.isTTY = isTTY
  }

  write(text: string): boolean {
    if (this.broken) throw Object.assign(new Error('write EPIPE'), { code: 'EPIPE' })
    this.text += text
    return true
  }
}

const env = { LANG: 'en_US.UTF-8', TERM: 'xterm-256color' }

function clock(): { now: () => number; pass: (ms: number) => void } {
  let time = 1000
  return {
    now: () => time,
    pass: ms => {
      time += ms
    },
  }
}

function lastLine(stream: FakeStream): string {
  return stripVTControlCharacters(stream.text.split('\r').at(-1)!)
}

test('a terminal line holds label, bar, count, loss, rate and ETA, within the width', () => {
  const stream = new FakeStream(true)
  const { now, pass } = clock()
  const progress = createProgress({ label: 'Training', total: 200, stream, env, now })
  for (let step = 1; step <= 50; step++) {
    pass(100)
    progress.update({ step, loss: 0.7, rate: 12_345 })
  }
  const line = lastLine(stream)
  assert.match(line, /^Training {2}━+─+ {2} 50\/200 {2} 25% {2}loss 0\.7000 {2}12\.3k tok\/s {2}ETA 0:15$/)
  for (let columns = 1; columns <= 200; columns++) {
    stream.columns = columns
    stream.emit('resize')
    assert.ok(displayWidth(lastLine(stream)) < Math.max(2, columns), `${columns}: ${lastLine(stream)}`)
  }
})

test('finish clears the line, and its listener is gone', () => {
  const stream = new FakeStream(true)
  const progress = createProgress({ label: 'Training', total: 2, stream, env })
  progress.update({ step: 2 })
  progress.log('checkpoint saved')
  progress.finish()
  assert.ok(stream.text.endsWith('\r\x1b[K'))
  assert.ok(stream.text.includes('\r\x1b[Kcheckpoint saved\n'))
  assert.is(stream.listenerCount('resize'), 0)
  const before = stream.text
  progress.update({ step: 2 })
  progress.finish('again')
  assert.is(stream.text, before)
})

test('redraws are limited in time but the last step is always drawn', () => {
  const stream = new FakeStream(true)
  const { now, pass } = clock()
  const progress = createProgress({ label: 'Training', total: 1000, stream, env, now })
  for (let step = 1; step <= 1000; step++) {
    pass(1)
    progress.update({ step })
  }
  assert.ok(stream.text.split('\r').length < 20)
  assert.match(lastLine(stream), /1000\/1000 +100%/)
})

test('NO_COLOR removes styles, a locale without UTF-8 the special characters', () => {
  const styled = new FakeStream(true)
  createProgress({ label: 'x', total: 2, stream: styled, env }).update({ step: 1 })
  assert.ok(styled.text.includes('\x1b[1m'))
  const plain = new FakeStream(true)
  createProgress({ label: 'x', total: 2, stream: plain, env: { ...env, NO_COLOR: '1' } }).update({ step: 1 })
  assert.not(plain.text.replace('\x1b[K', '').includes('\x1b'))
  const ascii = new FakeStream(true)
  const old = { LANG: 'C', TERM: 'xterm', NO_COLOR: '1' }
  createProgress({ label: 'x', total: 2, stream: ascii, env: old }).update({ step: 1, loss: 0.5 })
  assert.match(lastLine(ascii), /^x {2}\[=+\.+\] {2}1\/2 {3}50% {2}loss 0\.5000 {2}ETA [^ ]+$/)
})

test('a pipe gets whole lines without control codes, every five seconds or N steps, and the last', () => {
  for (const [everySteps, want] of [
    [undefined, [1, 6, 11, 16, 20]],
    [8, [1, 6, 11, 16, 20]],
    [3, [1, 4, 7, 10, 13, 16, 19, 20]],
  ] as const) {
    const stream = new FakeStream(false)
    const { now, pass } = clock()
    const options = { label: 'Training', total: 20, stream, env, now, ...(everySteps ? { everySteps } : {}) }
    const progress = createProgress(options)
    for (let step = 1; step <= 20; step++) {
      pass(1000)
      progress.update({ step, loss: 1 / step, rate: 900 })
    }
    progress.finish('done')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is what is tested
    assert.not.match(stream.text, /[\x00-\x09\x0b-\x1f\x7f]/)
    const lines = stream.text.trimEnd().split('\n')
    assert.is(lines.pop(), 'done')
    assert.equal(
      lines.map(line => Number(/Training (\d+)\/20/.exec(line)![1])),
      want,
    )
    assert.match(lines[1]!, /^Training \d+\/20 \(\d+%\) loss \d\.\d{4} 900 tok\/s ETA 0:\d\d$/)
  }
})

test('TERM=dumb counts as a pipe; quiet writes nothing; without a total there is no bar', () => {
  const dumb = new FakeStream(true)
  createProgress({ label: 'x', total: 9, stream: dumb, env: { TERM: 'dumb' } }).update({ step: 1 })
  assert.match(dumb.text, /^x 1\/9 \(11%\) ETA .*\n$/)
  const quiet = new FakeStream(true)
  const progress = createProgress({ label: 'x', total: 9, stream: quiet, env, quiet: true })
  progress.update({ step: 1 })
  progress.log('line')
  progress.finish('line')
  assert.is(quiet.text, '')
  const open = new FakeStream(true)
  createProgress({ label: 'Reading', stream: open, env, unit: 'rows/s' }).update({ step: 70, rate: 1e6 })
  assert.is(lastLine(open), 'Reading  70  1M rows/s')
})

test('a closed pipe never throws, whether write throws or the stream reports it later', () => {
  for (const isTTY of [true, false]) {
    const stream = new FakeStream(isTTY)
    const progress = createProgress({ label: 'x', total: 9, stream, env })
    progress.update({ step: 1 })
    stream.emit('error', Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
    stream.broken = true
    progress.update({ step: 9 })
    progress.log('line')
    progress.finish('end')
    const later = createProgress({ label: 'y', total: 9, stream, env })
    later.update({ step: 9 })
    stream.emit('error', new Error('again'))
    later.finish()
  }
})

test('durations and counts', () => {
  assert.equal([0, 1023, 1536, 1010 * 2 ** 20].map(bytesText), ['0 B', '1023 B', '1.50 KiB', '1010 MiB'])
  assert.equal([0, 7.4, 754, 11045, Number.NaN].map(clockText), ['0:00', '0:07', '12:34', '3:04:05', '–'])
  assert.equal([0, 9.876, 987, 1000, 12_345, 4_560_000, 2e9].map(shortCountText), [
    '0',
    '9.88',
    '987',
    '1k',
    '12.3k',
    '4.56M',
    '2G',
  ])
})

test.run()
