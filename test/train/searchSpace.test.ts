import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { LowrankError } from '../../lib/errors.ts'
import { accepts, type OptionRow } from '../../lib/options.ts'
import { METHODS } from '../../lib/peft/index.ts'
import { ownOptions, TASK_OPTIONS } from '../../lib/tasks/options.ts'
import { TRAIN_OPTIONS } from '../../lib/train/options.ts'
import { searchSpace } from '../../lib/train/searchSpace.ts'

test('names give their ranges and choices, by the method', () => {
  assert.equal(searchSpace(['lr', 'r', 'epochs']), {
    lr: { from: 1e-5, to: 1e-2, scale: 'log' },
    r: { values: [4, 8, 16, 32, 64] },
    epochs: { from: 1, to: 20, isWhole: true },
  })
  assert.equal(searchSpace(['r'], 'vera').r, { values: [64, 128, 256, 512] })
  assert.ok('maskProbability' in searchSpace())
})

test('what is unknown or no matter of search is refused by name', () => {
  const refusal = (names: readonly string[], method?: string): LowrankError => {
    try {
      searchSpace(names, method)
    } catch (error) {
      return error as LowrankError
    }
    return assert.unreachable(names.join()) as never
  }
  assert.match(refusal(['learning_rate']).message, /"learning_rate".*"lr"/)
  assert.match(refusal(['outputDir']).message, /"outputDir" is not searched/)
  assert.match(refusal(['alpha'], 'vera').message, /"alpha" is not searched/)
  assert.is(refusal([]).code, 'ERR_OPTION')
})

test('every value that is searched is one the option takes', () => {
  const tables = { ...TRAIN_OPTIONS, ...TASK_OPTIONS, ...Object.fromEntries(ownOptions()) }
  const fields = METHODS.flatMap(({ fields }) => fields.map(field => [field.name, field] as const))
  const rows = [...Object.entries(tables), ...fields].map(([name, row]) => [name, row as OptionRow] as const)
  let seen = 0
  for (const [name, row] of rows) {
    if (!row.search) continue
    seen++
    const values = 'values' in row.search ? row.search.values : [row.search.from, row.search.to]
    for (const value of values) assert.ok(accepts(row, value), `${name}: ${value}`)
  }
  assert.ok(seen > 15, String(seen))
})

test.run()
