import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import {
  floatRepr,
  PyFloat,
  type PyJson,
  pyFloat,
  readExactJson,
  readJson,
  shown,
  stringifyPython,
  writeJson,
} from '../../lib/io/json.ts'
import { JsonError, parseExact } from '../../lib/io/parseJson.ts'
import { temporaryFolder } from '../support/temporary.ts'

const dir = temporaryFolder()

interface Golden {
  floats: [hex: string, repr: string][]
  tree: { sorted_ascii: string; raw: string; one_line: string }
}
const golden = readJson(fileURLToPath(new URL('../golden/io/json.json', import.meta.url))) as unknown as Golden

function plain(value: PyJson): unknown {
  if (value instanceof PyFloat) return value.value
  if (typeof value === 'bigint') return Number(value)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]))
}

function error(text: string | Uint8Array): string {
  const path = join(dir, 'bad.json')
  writeFileSync(path, text)
  try {
    readJson(path)
  } catch (thrown) {
    assert.instance(thrown, LowrankError)
    assert.is((thrown as LowrankError).code, 'ERR_CONFIG')
    const { message } = thrown as LowrankError
    assert.ok(message.startsWith(path), message)
    return message
  }
  throw new Error('no error')
}

test('floats read as Python repr', () => {
  for (const [, repr] of golden.floats) assert.is(floatRepr(Number(repr)), repr)
})

test("a tree equals Python's text and survives a round trip", () => {
  const tree = parseExact(golden.tree.raw)
  assert.is(stringifyPython(tree), golden.tree.sorted_ascii)
  assert.is(stringifyPython(tree, { sortKeys: false, ensureAscii: false }), golden.tree.raw)
  assert.is(stringifyPython(tree, { indent: 0 }), golden.tree.one_line)
  assert.is(stringifyPython(parseExact(golden.tree.sorted_ascii)), golden.tree.sorted_ascii)
})

test('integers, floats and the trailing newline', async () => {
  const path = join(dir, 'x.json')
  await writeJson(path, { b: pyFloat(8), a: 8, c: 1e-5 }, { trailingNewline: true })
  assert.is(readFileSync(path, 'utf8'), '{\n  "a": 8,\n  "b": 8.0,\n  "c": 1e-05\n}\n')
  assert.equal(readJson(path), { a: 8, b: 8, c: 1e-5 })
  assert.equal(readExactJson(path), { a: 8, b: pyFloat(8), c: pyFloat(1e-5) })
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, pyFloat(Number.NEGATIVE_INFINITY)])
    assert.throws(
      () => stringifyPython([value]),
      (thrown: unknown) => thrown instanceof LowrankError && thrown.code === 'ERR_OPTION',
    )
})

test('errors name the file, the fault and the place', () => {
  assert.match(error(''), 'holds nothing')
  assert.match(error(' \n'), 'holds nothing')
  assert.match(error('{\n  "a": 1,\n  "b" 2\n}'), 'has "2\\n}" where ":" belongs (line 3, column 7)')
  assert.match(error('{"a": 1,}'), 'where a key in double quotes belongs')
  assert.match(error('[1, NaN]'), 'holds NaN')
  assert.match(error('[-Infinity]'), 'holds -Infinity')
  assert.match(error('{"a": "x'), 'ends inside a string')
  assert.match(error('["\\\\\\q"]'), 'unknown escape')
  assert.match(error('["a\nb"]'), 'control character')
  assert.match(error('[01]'), 'where "," or "]" belongs')
  assert.match(error('[1] x'), 'after its end')
  assert.match(error(Uint8Array.of(0x5b, 0xff, 0x5d)), 'UTF-8')
  const missing = join(dir, 'none.json')
  assert.throws(
    () => readJson(missing, 'ERR_DATA'),
    (thrown: unknown) =>
      thrown instanceof LowrankError && thrown.code === 'ERR_DATA' && thrown.message.includes(missing),
  )
  assert.throws(() => readJson(dir), /folder/)
})

test('duplicate keys: the last one wins, or an error; deep nesting is an error', () => {
  assert.equal(parseExact('{"a":1,"a":2}'), { a: 2 })
  assert.throws(
    () => parseExact('{"x":{"a":1,"\\u0061":2}}', { unique: true }),
    (thrown: unknown) => thrown instanceof JsonError && thrown.message.includes('"a" twice') && thrown.at === 12,
  )
  assert.throws(() => parseExact('['.repeat(100_000)), /nested/)
  assert.equal(Object.keys(parseExact('{"__proto__":{"x":1}}') as object), ['__proto__'])
})

test('agrees with JSON.parse on every text', () => {
  const mutated = fc
    .tuple(fc.json(), fc.nat(), fc.constantFrom('', '"', '\\', '{', ']', ',', '0', '-', '.', 'e', '\t', '\u0000', 'tr'))
    .map(
      ([text, at, piece]) => text.slice(0, at % (text.length + 1)) + piece + text.slice((at % (text.length + 1)) + 1),
    )
  fc.assert(
    fc.property(fc.oneof(fc.json(), mutated, fc.string()), text => {
      let wanted: unknown
      try {
        wanted = JSON.parse(text)
      } catch {
        assert.throws(
          () => parseExact(text),
          (thrown: unknown) => thrown instanceof JsonError,
        )
        return
      }
      assert.equal(plain(parseExact(text)), wanted)
    }),
    { numRuns: 3000 },
  )
})

test('what is written reads back the same', () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.boolean(), (value, ensureAscii) => {
      const text = stringifyPython(value as PyJson, { ensureAscii })
      assert.equal(JSON.parse(text), JSON.parse(JSON.stringify(value)))
      assert.is(stringifyPython(parseExact(text), { ensureAscii }), text)
    }),
  )
})

test('what would take time or stack without end is refused at once', () => {
  const folder = temporaryFolder()
  const path = join(folder, 'a.json')
  const refused = (text: string, pattern: RegExp) => {
    writeFileSync(path, text)
    for (const read of [readJson, readExactJson])
      assert.throws(
        () => read(path),
        (error: LowrankError) => error.code === 'ERR_CONFIG' && pattern.test(error.message),
      )
  }
  refused('['.repeat(200_000) + ']'.repeat(200_000), /nested more than 512 deep/)
  refused(`${'{"a":'.repeat(1000)}1${'}'.repeat(1000)}`, /nested more than 512 deep/)
  writeFileSync(path, `{"a": "${'['.repeat(2000)}", "b": [${'[1],'.repeat(2000)}2]}`)
  assert.is((readJson(path) as { b: unknown[] }).b.length, 2001)
  writeFileSync(path, `{"a": ${'9'.repeat(5_000_000)}}`)
  assert.throws(
    () => readExactJson(path),
    (error: LowrankError) => error.code === 'ERR_CONFIG' && /a number of 5000000 digits/.test(error.message),
  )
  rmSync(folder, { recursive: true })
})

test('a value in a message: as JSON, short, whatever it is', () => {
  const values = [
    undefined,
    null,
    'a "b"',
    0.5,
    Number.NaN,
    2n ** 64n,
    pyFloat(1),
    { r: [8, Number.POSITIVE_INFINITY] },
  ]
  assert.equal(values.map(shown), [
    'missing',
    'null',
    '"a \\"b\\""',
    '0.5',
    'NaN',
    '"18446744073709551616"',
    '1.0',
    '{"r":[8,"Infinity"]}',
  ])
  assert.is(shown('x'.repeat(1000)).length, 100)
  const circle: { self?: unknown } = {}
  circle.self = circle
  assert.is(shown(circle), '[object Object]')
  assert.is(shown(Symbol('a')), 'Symbol(a)')
})

test.run()
