import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { LowrankError } from '../../lib/errors.ts'
import { loadTokenizer, type Tokenizer } from '../../lib/tokenizer/tokenizer.ts'
import { rejects } from '../data/support.ts'
import { shared } from '../support/shared.ts'
import { temporaryFolder } from '../support/temporary.ts'

const golden = fileURLToPath(new URL('../golden/tokenizer/', import.meta.url))

interface Answers {
  texts: { ids: number[]; plain: number[]; decoded: string }[]
  pairs: [number[], number[]][][]
  cut: [number[], number[]][]
  words: [number[], number[]][][]
}
interface SharedAnswer {
  ids: number[]
  no_special: number[]
  decoded: string
}
interface Encodings {
  texts: string[]
  pairs: [string, string][]
  words: string[][]
  lengths: (number | null)[]
  answers: Record<string, Answers>
}

const encodings: Encodings = JSON.parse(readFileSync(join(golden, 'encodings.json'), 'utf8'))

async function withFolder(files: Record<string, unknown>, fn: (folder: string) => Promise<void>): Promise<void> {
  const folder = temporaryFolder()
  try {
    for (const [name, value] of Object.entries(files))
      writeFileSync(join(folder, name), typeof value === 'string' ? value : JSON.stringify(value))
    await fn(folder)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const source = (name: string) => JSON.parse(readFileSync(join(golden, `${name}.json`), 'utf8'))

function compare(name: string, tokenizer: Tokenizer): void {
  const { texts, pairs, lengths, answers } = encodings
  const expected = answers[name]!
  const cut = lengths.map(length => length ?? undefined)
  texts.forEach((text, i) => {
    const want = expected.texts[i]!
    const label = `${name}: ${JSON.stringify(text)}`
    assert.equal([...tokenizer.encode(text).ids], want.ids, label)
    assert.equal(tokenizer.tokens(text), want.plain, label)
    assert.equal(tokenizer.decode(want.ids), want.decoded, label)
  })
  cut.forEach((maxLength, k) => {
    const { ids, typeIds } = tokenizer.encode(texts[4]!, { maxLength })
    assert.equal([[...ids], [...typeIds]], expected.cut[k], `${name}: cut to ${maxLength}`)
    pairs.forEach(([text, pair], i) => {
      const found = tokenizer.encode(text, { pair, maxLength })
      assert.equal([[...found.ids], [...found.typeIds]], expected.pairs[i]![k], `${name}: pair ${i} at ${maxLength}`)
      const full = expected.pairs[i]![0]![0].length
      assert.is(found.truncated, maxLength !== undefined && full > maxLength)
    })
  })
}

/** Python gives a word without tokens nothing; here it becomes the unknown token. */
function compareWords(name: string, tokenizer: Tokenizer): void {
  const { words, lengths, answers } = encodings
  words.forEach((list, i) => {
    const [wantIds, wantWords] = answers[name]!.words[i]![0]!
    const silent = list.map((_, w) => w).filter(w => !wantWords.includes(w))
    const { ids, wordIds } = tokenizer.encodeWords(list)
    const kept = [...wordIds.keys()].filter(t => !silent.includes(wordIds[t]!))
    assert.equal(
      kept.map(t => ids[t]),
      wantIds,
      `${name}: ${JSON.stringify(list)}`,
    )
    assert.equal(
      kept.map(t => wordIds[t]),
      wantWords,
    )
    for (const w of silent) assert.is(ids[wordIds.indexOf(w)], tokenizer.specials.unk)
    if (silent.length > 0) return
    lengths.forEach((length, k) => {
      const found = tokenizer.encodeWords(list, { maxLength: length ?? undefined })
      const want = answers[name]!.words[i]![k]!
      assert.equal([[...found.ids], [...found.wordIds]], want, `${name}: words ${i} at ${length}`)
    })
  })
}

test('a byte-level tokenizer answers as Python does, its stored truncation and padding ignored', async () => {
  const tokenizer = await loadTokenizer(join(golden, 'bytelevel.json'))
  compare('bytelevel', tokenizer)
  compareWords('bytelevel', tokenizer)
  assert.equal(tokenizer.specials, { cls: 0, sep: 2, pad: 1, unk: 3, mask: 700, bos: 0, eos: 2 })
})

test('a cased WordPiece tokenizer answers as Python does', async () => {
  const tokenizer = await loadTokenizer(join(golden, 'wordpiece.json'))
  compare('wordpiece', tokenizer)
  compareWords('wordpiece', tokenizer)
  assert.equal(tokenizer.specials, { cls: 2, sep: 3, pad: 0, unk: 1, mask: 4, bos: undefined, eos: undefined })
})

test('an uncased WordPiece tokenizer answers as Python does', async () => {
  const uncased = source('wordpiece')
  uncased.normalizer.lowercase = true
  await withFolder({ 'tokenizer.json': uncased }, async folder => {
    compare('wordpiece-lowercase', await loadTokenizer(folder))
    compareWords('wordpiece-lowercase', await loadTokenizer(folder))
  })
})

test('minibert-own answers as Python does', async () => {
  const folder = shared('weights/minibert-own')
  if (!folder) return console.log('skipped: weights/minibert-own is absent')
  const tokenizer = await loadTokenizer(folder)
  compare('minibert', tokenizer)
  compareWords('minibert', tokenizer)
  assert.is(tokenizer.modelMaxLength, 160)
  assert.is(tokenizer.vocabSize, 8192)
})

test('the shared encodings of 188 texts are met', async () => {
  const file = shared('golden/tokenizers.json')
  if (!file) return console.log('skipped: golden/tokenizers.json is absent')
  const all = JSON.parse(readFileSync(file, 'utf8'))
  for (const [name, wanted] of Object.entries<SharedAnswer[]>(all.encodings)) {
    const path = shared(`weights/${name}`) ?? shared(name)
    if (!path) {
      console.log(`skipped: ${name} is absent`)
      continue
    }
    const tokenizer = await loadTokenizer(path)
    all.texts.forEach((text: string, i: number) => {
      const want = wanted[i]!
      assert.equal([...tokenizer.encode(text).ids], want.ids, `${name}: ${JSON.stringify(text)}`)
      assert.equal(tokenizer.tokens(text), want.no_special)
      // Python keeps a special token on decoding when its normalised text differs from its text; here it always goes.
      if (name !== 'TinyStories-656K/tokenizer.json') assert.is(tokenizer.decode(want.ids), want.decoded)
    })
  }
})

const long = (length: number) => 'lorem ipsum, dolor sit amet\n'.repeat(Math.ceil(length / 28)).slice(0, length)

for (const name of ['wordpiece', 'bytelevel']) {
  test(`${name}: 10 MB of text, cut and whole`, async () => {
    const tokenizer = await loadTokenizer(join(golden, `${name}.json`))
    const text = long(10_000_000)
    const started = performance.now()
    const cut = tokenizer.encode(text, { maxLength: 128 })
    assert.ok(performance.now() - started < 2000, 'a cut text is not tokenised to its end')
    assert.is(cut.truncated, true)
    assert.is(cut.ids.length, 128)
    assert.equal([...cut.ids.subarray(0, 127)], [...tokenizer.encode(text.slice(0, 8000)).ids.subarray(0, 127)])
    assert.ok(tokenizer.tokens(text.slice(0, 1_000_000)).length > 100_000)
  })

  test(`${name}: a text cut anywhere gives a prefix of the whole`, async () => {
    const tokenizer = await loadTokenizer(join(golden, `${name}.json`))
    const text = encodings.texts.join('  ').repeat(12)
    const whole = tokenizer.encode(text).ids
    for (const maxLength of [3, 17, 400, 1000, 2000, whole.length - 1]) {
      const { ids, truncated } = tokenizer.encode(text, { maxLength })
      assert.equal([...ids.subarray(0, -1)], [...whole.subarray(0, maxLength - 1)])
      assert.is(truncated, true)
    }
    assert.is(tokenizer.encode(text, { maxLength: whole.length }).truncated, false)
  })

  test(`${name}: empty text, spaces and lone surrogates`, async () => {
    const tokenizer = await loadTokenizer(join(golden, `${name}.json`))
    const { cls, sep } = tokenizer.specials
    assert.equal([...tokenizer.encode('').ids], [cls, sep])
    assert.ok(tokenizer.encode('   ').ids.length >= 2)
    assert.equal(tokenizer.tokens('a\uD800b'), tokenizer.tokens('a\uFFFDb'))
    assert.equal([...tokenizer.encodeWords([]).wordIds], [-1, -1])
    assert.is(tokenizer.decode([]), '')
    assert.is(tokenizer.decode([cls!, sep!]), '')
    assert.ok(tokenizer.decode([cls!], { keepSpecials: true }).length > 0)
  })
}

test('whole words are told by their pieces', async () => {
  const bert = await loadTokenizer(join(golden, 'wordpiece.json'))
  const { ids, wordIds } = bert.encodeWords(['internationalisation', 'ok'])
  for (const [t, id] of ids.entries()) assert.is(bert.continues(id), wordIds[t]! >= 0 && wordIds[t] === wordIds[t - 1])
  const roberta = await loadTokenizer(join(golden, 'bytelevel.json'))
  assert.is(roberta.continues(roberta.tokens(' the')[0]!), false)
})

test('special tokens are found in every spelling', async () => {
  const json = source('wordpiece')
  const named = { cls_token: { content: '[SEP]' }, pad_token: '[MASK]', model_max_length: 1e30 }
  await withFolder({ 'tokenizer.json': json, 'tokenizer_config.json': named }, async folder => {
    const tokenizer = await loadTokenizer(folder)
    assert.equal(tokenizer.specials, { cls: 3, sep: 3, pad: 4, unk: 1, mask: 4, bos: undefined, eos: undefined })
    assert.is(tokenizer.modelMaxLength, undefined)
  })
  const map = { mask_token: { content: '[UNK]', lstrip: true } }
  await withFolder({ 'tokenizer.json': json, 'special_tokens_map.json': map }, async folder => {
    assert.equal((await loadTokenizer(folder)).specials, {
      cls: 2,
      sep: 3,
      pad: 0,
      unk: 1,
      mask: 1,
      bos: undefined,
      eos: undefined,
    })
  })
  await withFolder({ 'tokenizer.json': json, 'tokenizer_config.json': { cls_token: '[NONE]' } }, folder =>
    rejects(() => loadTokenizer(folder), 'ERR_CONFIG', /\[NONE\]/),
  )
})

test('broken tokenizer files are coded errors', async () => {
  const json = source('wordpiece')
  const broken: [Record<string, unknown>, string, RegExp][] = [
    [{}, 'ERR_CONFIG', /does not exist/],
    [{ 'tokenizer.json': '{' }, 'ERR_CONFIG', /not JSON/],
    [{ 'tokenizer.json': '[]' }, 'ERR_CONFIG', /no JSON object/],
    [{ 'tokenizer.json': { version: '1.0' } }, 'ERR_CONFIG', /vocabulary/],
    [{ 'tokenizer.json': { ...json, pre_tokenizer: { type: 'Nope' } } }, 'ERR_UNSUPPORTED', /Nope/],
    [{ 'tokenizer.json': { ...json, post_processor: { type: 'Nope' } } }, 'ERR_UNSUPPORTED', /Nope/],
    [{ 'tokenizer.json': { ...json, added_tokens: [{ id: 1 }] } }, 'ERR_CONFIG', /content or id/],
    [{ 'tokenizer.json': { ...json, added_tokens: [{ id: 1e9, content: 'x' }] } }, 'ERR_CONFIG', /1000000000/],
    [{ 'tokenizer.json': { ...json, normalizer: { type: 'Nope' } } }, 'ERR_UNSUPPORTED', /Nope/],
    [{ 'tokenizer.json': { ...json, decoder: { type: 'Nope' } } }, 'ERR_UNSUPPORTED', /Nope/],
    [{ 'tokenizer.json': { ...json, model: { ...json.model, vocab: { a: '7' } } } }, 'ERR_CONFIG', /"7"/],
    [{ 'tokenizer.json': { ...json, model: { ...json.model, vocab: { a: 3.5 } } } }, 'ERR_CONFIG', /3\.5/],
    [{ 'tokenizer.json': { ...json, model: { ...json.model, vocab: { a: 1e300 } } } }, 'ERR_CONFIG', /1e\+300/],
    [{ 'spiece.model': 'x' }, 'ERR_UNSUPPORTED', /spiece\.model/],
    [{ 'tokenizer.json': { ...json, post_processor: { type: 'TemplateProcessing' } } }, 'ERR_CONFIG', /text A/],
  ]
  for (const [files, code, message] of broken)
    await withFolder(files, folder => rejects(() => loadTokenizer(folder), code, message))
})

test('wrong lengths and ids are coded errors', async () => {
  const tokenizer = await loadTokenizer(join(golden, 'wordpiece.json'))
  throws(() => tokenizer.encode('a', { maxLength: 2 }), 'ERR_OPTION', /no room/)
  throws(() => tokenizer.encode('a', { pair: 'b', maxLength: 3 }), 'ERR_OPTION', /no room/)
  throws(() => tokenizer.encodeWords(['a'], { maxLength: 2.5 }), 'ERR_OPTION', /integer/)
  const roberta = await loadTokenizer(join(golden, 'bytelevel.json'))
  throws(() => roberta.encode('x'.repeat(10_000_000), { maxLength: 128 }), 'ERR_DATA', /10000000 characters in a row/)
  throws(() => tokenizer.decode([tokenizer.vocabSize]), 'ERR_DATA', /vocabulary/)
})

function throws(fn: () => unknown, code: string, message: RegExp): void {
  try {
    fn()
  } catch (error) {
    assert.instance(error, LowrankError)
    assert.is((error as LowrankError).code, code)
    assert.match((error as LowrankError).message, message)
    return
  }
  assert.unreachable(`expected ${code}`)
}

test.run()
