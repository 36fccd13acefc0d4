// What scripts/sass.mjs reads in a listing of machine code.

import { join } from 'node:path'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { packageRoot } from '../../lib/io/package.ts'

const { instructionOf, registerLimits, turnsOf } = await import(join(packageRoot, 'scripts/sass.mjs'))

/** Instructions at 0x10, 0x20, …, as cuobjdump prints them. */
const listing = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line, i) => {
      const at = ((i + 1) * 16).toString(16).padStart(4, '0')
      return instructionOf(`        /*${at}*/  ${line.trim()} ;   /* 0x0000000000007948 */`)
    })

const split = (producer: string) =>
  listing(`
    S2R R200, SR_TID.X
    @P0 BRA 0x60
    USETMAXREG.TRY_ALLOC.CTAPOOL UP0, 0xf0
    HGMMA.64x128x16.F32.BF16 R24, R152, gdesc[UR8], R24
    EXIT
    USETMAXREG.DEALLOC.CTAPOOL 0x18
    ${producer}
    @!P1 BRA 0x70
    EXIT`)

test('registers that are reached after setmaxnreg, on all ways and as wide as operands are', () => {
  assert.equal(registerLimits(split('IADD3 R22, R22, 0x1, RZ')), [
    { limit: 240, highest: 155 },
    { limit: 24, highest: 22 },
  ])
  const [, narrow] = registerLimits(split('LDG.E.128 R21, [R2.64]'))
  assert.equal(narrow, { limit: 24, highest: 24 })
})

test('the shortest turn of the loop around wgmma, and the shortest with a mask', () => {
  const loop = listing(`
    MOV R1, R2
    HGMMA.64x64x16.F32.BF16 R24, gdesc[UR8], R24
    @P0 BRA 0x60
    FSEL R24, R24, -INF , P1
    FSEL R25, R25, -INF , P2
    FADD R3, R24, R25
    @P3 BRA 0x20
    EXIT`)
  assert.equal(turnsOf(loop), { plain: 4, masked: 6 })
  assert.is(turnsOf(listing('MOV R1, R2\nEXIT')), undefined)
})

test.run()
