import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { operands } from '../../lib/check/case.ts'
import { opCases } from '../../lib/check/cases.ts'
import { native } from '../../lib/native.ts'
import { gradcheck } from '../support/gradcheck.ts'

for (const { name, inputs, run } of opCases())
  test(`${name}: backward equals central differences`, async () => {
    const before = native.live()
    await gradcheck(name, leaves => run(operands(leaves)), inputs)
    assert.is(native.live(), before, 'every tensor is freed')
  })

test.run()
