// Exact match and F1 against Python's, on answers with punctuation, articles and white space of all kinds.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'
import { answerReport, answerScore } from '../../lib/metrics/squad.ts'

interface Case {
  answer: string
  golds: string[]
  exact: number
  f1: number
}

test("exact match and F1 are those of SQuAD's rules", () => {
  const cases: Case[] = JSON.parse(readFileSync(join(packageRoot, 'test/golden/squad/scores.json'), 'utf8'))
  assert.ok(cases.length > 100)
  assert.ok(cases.some(({ exact, f1 }) => exact < f1 && f1 < 1))
  for (const { answer, golds, exact, f1 } of cases) {
    const found = answerScore(answer, golds)
    const where = JSON.stringify({ answer, golds })
    assert.is(found.exact, exact, where)
    assert.ok(Math.abs(found.f1 - f1) < 1e-12, `${where}: ${found.f1}, Python ${f1}`)
  }
})

test('means are told apart where some questions have no answer', () => {
  const scores = [
    { exact: 1, f1: 1 },
    { exact: 0, f1: 0.5 },
    { exact: 0, f1: 0 },
  ]
  const { exact, f1, hasAnswer, noAnswer } = answerReport(scores, [true, true, false])
  assert.equal([exact, f1], [1 / 3, 0.5])
  assert.equal(hasAnswer, { exact: 0.5, f1: 0.75, total: 2 })
  assert.equal(noAnswer, { exact: 0, f1: 0, total: 1 })
  assert.is(answerReport(scores, [true, true, true]).noAnswer, undefined)
})

test.run()
