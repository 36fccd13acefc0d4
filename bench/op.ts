// Every case of the op table (lib/check/) at the sizes of BERT-base, forward alone and with its backward.
//   npm run bench:op [-- NAME…] [--threads N] [--json]
// CPU milliseconds of the process, the fewest of several runs: what a shared machine measures least badly.

import { parseArgs } from 'node:util'
import { Tape } from '../lib/autograd/tape.ts'
import type { OpCase } from '../lib/check/case.ts'
import { operands } from '../lib/check/case.ts'
import { opCases } from '../lib/check/cases.ts'
import { table } from '../lib/cli/terminal/table.ts'
import { native } from '../lib/native.ts'
import { Device, scope, Tensor } from '../lib/tensor.ts'
import { machine } from './machine.ts'

const { positionals, values: options } = parseArgs({
  allowPositionals: true,
  options: { threads: { type: 'string' }, json: { type: 'boolean', default: false } },
})

const MAX_RUNS = 20
const ENOUGH_MS = 300

/** The fewest CPU milliseconds of one call and its queued work. */
async function fewest(work: () => void): Promise<number> {
  const device = Device.get('cpu')
  let [best, spent] = [Number.POSITIVE_INFINITY, 0]
  for (let run = 0; run < MAX_RUNS && spent < ENOUGH_MS; run++) {
    const before = process.cpuUsage()
    work()
    await device.synchronize()
    const { user, system } = process.cpuUsage(before)
    const ms = (user + system) / 1000
    spent += ms
    if (run > 0) best = Math.min(best, ms)
  }
  return best
}

async function measure({ name, inputs, run }: OpCase) {
  const leaves = inputs.map(({ data, shape, grad }) => {
    const isReal = data instanceof Float64Array
    const leaf = Tensor.from(isReal ? Float32Array.from(data) : data, shape).keep()
    leaf.requiresGrad = isReal && grad !== false
    return leaf
  })
  const forward = await fewest(() => scope(() => void run(operands(leaves))))
  const both = await fewest(() =>
    scope(() => {
      const tape = new Tape()
      const y = tape.run(() => run(operands(leaves)))
      const seed = Tensor.empty(y.shape)
      native.fill(seed.handle, 1)
      tape.backward(y, seed)
    }),
  )
  for (const leaf of leaves) leaf.dispose()
  return { name, forward_ms: Number(forward.toFixed(3)), forward_backward_ms: Number(both.toFixed(3)) }
}

if (options.threads) native.setThreads(Number(options.threads))
const results = []
for (const opCase of opCases('bench'))
  if (positionals.length === 0 || positionals.some(name => opCase.name.includes(name)))
    results.push(await measure(opCase))
if (options.json) console.log(JSON.stringify({ ...machine(), threads: native.info().threads, results }))
else {
  const rows = results.map(r => [r.name, r.forward_ms.toFixed(2), r.forward_backward_ms.toFixed(2)])
  const headers = ['op', 'forward, CPU ms', 'with backward, CPU ms']
  console.log(
    table(
      headers.map((header, i) => ({ header, align: i ? 'right' : 'left' })),
      rows,
    ),
  )
}
