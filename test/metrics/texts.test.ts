import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { bleu, chrf, isExact, type RougeScore, rougeL, rougeN, textStatistics } from '../../lib/metrics/texts.ts'

interface Case {
  said: string
  wanted: string
  rouge: Record<'rouge1' | 'rouge2' | 'rougeL', [number, number, number]>
  bleu: number
  chrf: number
}
const golden = JSON.parse(readFileSync(join(packageRoot, 'test/golden/metrics/texts.json'), 'utf8')) as {
  corpus: { bleu: number; chrf: number }
  texts: Case[]
}
const near = (name: string, ours: number, theirs: number) =>
  assert.ok(Math.abs(ours - theirs) < 1e-12, `${name}: ${ours}, expected ${theirs}`)

for (const { said, wanted, rouge, ...expected } of golden.texts)
  test(`${JSON.stringify(said.slice(0, 24))}: scores are those of rouge-score and sacrebleu`, () => {
    const scores: [string, RougeScore][] = [
      ['rouge1', rougeN(said, wanted, 1)],
      ['rouge2', rougeN(said, wanted, 2)],
      ['rougeL', rougeL(said, wanted)],
    ]
    for (const [name, { precision, recall, f1 }] of scores)
      for (const [i, value] of [precision, recall, f1].entries())
        near(`${name} ${i}`, value, rouge[name as 'rouge1'][i]!)
    const statistics = [textStatistics(said, wanted)]
    near('BLEU', bleu(statistics), expected.bleu / 100)
    near('chrF', chrf(statistics), expected.chrf / 100)
  })

test('of a corpus too, which is not the mean of its texts', () => {
  const statistics = golden.texts.map(({ said, wanted }) => textStatistics(said, wanted))
  near('BLEU', bleu(statistics), golden.corpus.bleu / 100)
  near('chrF', chrf(statistics), golden.corpus.chrf / 100)
})

test('a text is exact but for the white space around it', () => {
  assert.ok(isExact(' Paris\n', 'Paris'))
  assert.not.ok(isExact('paris', 'Paris'))
})

test.run()
