import { spawnSync } from 'node:child_process'
import { test } from 'uvu'
import * as assert from 'uvu/assert'
import { native } from '../../lib/native.ts'
import { release, scope, scopes, Tensor } from '../../lib/tensor.ts'

const make = () => Tensor.zeros([2])
let before = 0
test.before.each(() => {
  before = native.live()
})
test.after.each(() => {
  assert.is(native.live(), before, 'every test leaves as many tensors as it found')
  assert.is(scopes.length, 0)
})

test('frees what it made, but for what it returns', () => {
  const kept = scope(() => {
    make()
    return make()
  })
  assert.is(native.live(), before + 1)
  assert.is(kept.owner, undefined)
  kept.dispose()
})

test('arrays, records, Maps and Sets of tensors survive', () => {
  const bodies: (() => Iterable<Tensor>)[] = [
    () => scope(() => [make(), make()]),
    () => scope(() => new Set([make(), make()])),
    () => scope(() => new Map([['a', make()]])).values(),
    () => [scope(() => ({ a: make(), text: 'x', none: undefined })).a],
  ]
  for (const body of bodies) {
    const tensors = [...body()]
    assert.is(native.live(), before + tensors.length)
    for (const tensor of tensors) tensor.dispose()
  }
})

test('nested scopes hand over to the enclosing one', () => {
  scope(() => {
    const inner = scope(() => {
      make()
      return make()
    })
    assert.is(inner.owner, scopes.at(-1))
    assert.is(native.live(), before + 1)
  })
})

test('an exception frees everything, in every scope it passes', () => {
  assert.throws(() =>
    scope(() => {
      make()
      scope(() => {
        make()
        throw new Error('no')
      })
    }),
  )
})

test('a Promise is refused, and its later failure is not heard', async () => {
  const body = async () => {
    const x = make()
    await Promise.resolve()
    return x.shape
  }
  assert.throws(
    () => scope(body as never),
    /^scope: the body returned a Promise, expected a value; await outside of it$/,
  )
  await new Promise(resolve => setTimeout(resolve, 5))
})

test('keep takes a tensor out of every scope; release ends one early', () => {
  const kept = scope(() => scope(() => ({ it: make().keep() })))
  assert.is(native.live(), before + 1)
  kept.it.dispose()
  scope(() => {
    const mine = make()
    release(mine)
    assert.is(native.live(), before)
    const foreign = make()
    scope(() => release(foreign))
    assert.is(native.live(), before + 1, 'a tensor of another scope stays')
  })
})

test('a tensor that is disposed inside its scope is freed once', () => {
  scope(() => {
    make().dispose()
    const x = make()
    x[Symbol.dispose]()
  })
})

test('a tensor nobody owns and nobody reaches is dropped; one that is owned never', () => {
  const file = new URL(`./collected${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`, import.meta.url)
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--expose-gc', ...process.execArgv, file.pathname], {
    encoding: 'utf8',
  })
  assert.is(status, 0, stderr)
  assert.equal(JSON.parse(stdout), { made: 1001, collected: 1, value: 7 })
})

test.run()
