import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { displayWidth, pad, table, truncate } from '../../lib/cli/terminal/table.ts'

test('width in cells: ASCII 1, CJK and emoji 2, combining marks and escapes 0', () => {
  assert.is(displayWidth('abc'), 3)
  assert.is(displayWidth('日本語'), 6)
  assert.is(displayWidth('e\u0301'), 1)
  assert.is(displayWidth('👩‍👩‍👧'), 2)
  assert.is(displayWidth('\x1b[1mbold\x1b[22m'), 4)
  assert.is(displayWidth('─━…'), 3)
  assert.is(displayWidth('𠄌'), 2)
})

test('truncate never exceeds the width and marks the cut', () => {
  assert.is(truncate('abcdef', 4), 'abc…')
  assert.is(truncate('日本語', 4), '日…')
  assert.is(truncate('abc', 3), 'abc')
  assert.is(truncate('abc', 0), '')
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 0, max: 12 }), (text, width) => {
      assert.ok(displayWidth(truncate(text, width)) <= width)
    }),
  )
})

test('columns line up whatever the cells hold', () => {
  const text = table(
    [{ header: 'label' }, { header: 'F1', align: 'right' }],
    [['日本', '0.5'], ['a\nb', '12.25'], ['plain']],
  )
  assert.is(text, ['label     F1', '─────  ─────', '日本     0.5', 'a b    12.25', 'plain'].join('\n'))
})

test('a table fits the width it is given by cutting its widest text column', () => {
  const text = table([{ header: 'text' }, { header: 'n', align: 'right' }], [['x'.repeat(80), '1']], { width: 30 })
  for (const line of text.split('\n')) assert.ok(displayWidth(line) <= 30)
  assert.match(text, /x…/)
})

test('pad aligns left and right by cells', () => {
  assert.is(pad('日', 4), '日  ')
  assert.is(pad('日', 4, 'right'), '  日')
})

test.run()
