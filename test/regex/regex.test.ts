import * as fc from 'fast-check'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { Regex, RegexError } from '../../lib/regex/regex.ts'

const found = (pattern: string, text: string, dialect: 'onig' | 'python' = 'onig') => {
  const flat = new Regex(pattern, dialect).matches(text)
  return flat.filter((_, i) => i % 2 === 0).map((start, i) => text.slice(start, flat[2 * i + 1]))
}

test('the patterns of byte-level tokenizers match as JavaScript matches them', () => {
  const text = "They'll  say:\n\n 12345 x² Größe 日本語 \u{1F600}\u{1F600}! \t end  "
  for (const pattern of [
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    "'ll|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
  ])
    assert.equal(found(pattern, text), text.match(new RegExp(pattern, 'gu')))
})

test('what Ruby writes its own way', () => {
  assert.equal(found('^a', 'a\na'), ['a', 'a']) // lines, not the text
  assert.equal(found('\\Aa', 'a\na'), ['a'])
  assert.equal(found('(?m:a.)', 'a\n'), ['a\n'])
  assert.equal(found('a.', 'a\n'), [])
  assert.equal(found('[[:alpha:]]+', 'ab1é'), ['ab', 'é'])
  assert.equal(found('[a-z&&[^c]]+', 'abcd'), ['ab', 'd'])
  assert.equal(found('\\p{Han}+|\\p{^L}', 'x日本.'), ['日本', '.'])
  assert.equal(found('(?i:K)|ſ', 'k\u212Aſ'), ['k', '\u212A', 'ſ'])
  assert.equal(found('a++a|(?>b|bc)c|.', 'aabc'), ['a', 'a', 'bc'])
  assert.equal(found('(?<=a)b|(?<!a)c', 'abac'), ['b'])
  assert.equal(found('\\x{1F600}|\\u0041|\\x42', '\u{1F600}AB'), ['\u{1F600}', 'A', 'B'])
  assert.equal(found('\\b.', 'f¾▁ ²a'), ['f', '▁', '²'])
  assert.equal(found('a*', 'baa'), ['', 'aa'])
  assert.equal(found('\\s', '\uFEFF\u0085 '), ['\u0085', ' '])
})

test('random patterns match as JavaScript matches them', () => {
  const atom = fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', 'c', '(?=b)', '(?!a)', '\\b', '(?<=a)')
  const { pattern } = fc.letrec(tie => ({
    piece: fc.oneof(
      { maxDepth: 4 },
      atom,
      fc.tuple(tie('pattern'), fc.constantFrom('', '*', '+', '?', '*?', '{1,2}')).map(([p, q]) => `(?:${p})${q}`),
      fc.tuple(fc.constantFrom('a', '[bc]', '.'), fc.constantFrom('*', '+', '??', '{2}')).map(([p, q]) => p + q),
    ),
    pattern: fc.oneof(
      fc.array(tie('piece'), { minLength: 1, maxLength: 3 }).map(parts => parts.join('')),
      fc.tuple(tie('piece'), tie('piece')).map(([a, b]) => `${a}|${b}`),
    ),
  }))
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', ' '), maxLength: 12 })
  fc.assert(
    fc.property(pattern as fc.Arbitrary<string>, text, (source, input) => {
      const all = new RegExp(`^(?:${source})$`, 'u').test(input)
      assert.is(new Regex(source, 'python').matchesAll(input), all, `${source} on ${JSON.stringify(input)}`)
    }),
    { numRuns: 3000, seed: 7 },
  )
})

test('hostile patterns end with an answer or an error', () => {
  const text = 'a'.repeat(20_000)
  for (const pattern of ['(a+)+$', '(a|a)*b', '(a*)*b', 'a*a*a*a*a*b', '(?=(a+)+b)a', '(.*)*x', '(?:a?){500}b'])
    try {
      assert.equal(new Regex(pattern, 'onig').matches(text), pattern === '(a+)+$' ? [0, text.length] : [], pattern)
    } catch (error) {
      assert.instance(error, RegexError)
      assert.match((error as Error).message, /steps/)
    }
})

test('letters that equal several others when case is ignored are refused: Oniguruma takes either for the other', () => {
  // tokenizers 0.23 splits "assb" by (?i)ß at "ss", "aﬆb" by (?i)st at "ﬆ", and "assb" by (?i)s+ at "ss".
  for (const pattern of ['(?i)ß', '(?i)ss', '(?i:st)', 'a(?i)\\x{fb01}', '(?i)İ'])
    assert.throws(
      () => new Regex(pattern, 'onig'),
      (error: unknown) => error instanceof RegexError && /ignores the case of/.test(error.message),
    )
  assert.equal(found('(?i)s+', 'assb'), ['ss'])
  assert.equal(found('ß|ss', 'aßss'), ['ß', 'ss'])
  assert.equal(found('(?i)ss', 'SSß', 'python'), ['SS'])
})

test('what is no pattern, or cannot be matched, is a RegexError', () => {
  const bad = ['(', ')', '[a', 'a{2,1}', '\\p{Nope}', '(?<n>a)\\1', '\\k<n>', '[b-a]', '((a{900}){900}){900}', '(?x)']
  for (const pattern of [...bad, '('.repeat(5000), '['.repeat(5000), `${'(?:'.repeat(500)}a${')'.repeat(500)}`])
    assert.throws(
      () => new Regex(pattern, 'onig'),
      (error: unknown) => error instanceof RegexError,
      pattern.slice(0, 50),
    )
})

test.run()
