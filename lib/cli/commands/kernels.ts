// `lowrank doctor --kernels`: what the GPU makes of every instruction and every op, on the user's own card.

import type { CaseOutcome } from '../../check/attempt.ts'
import { checkKernels } from '../../check/check.ts'
import { checkConformance } from '../../check/conformance.ts'
import { native } from '../../native.ts'
import { Device } from '../../tensor.ts'
import type { Settings } from '../options/options.ts'
import { type Console, paint } from '../terminal/console.ts'

/** A line of the report. */
export interface Check extends CaseOutcome {
  /** An instruction, or what an op was held against. */
  readonly kind: string
  readonly name: string
  readonly result: 'ok' | 'skipped' | 'FAILED'
  readonly note: string
}

/** Instructions first, since ops rest on them. Ends where the device becomes unusable. */
async function* checksOf(device: Device): AsyncGenerator<Check> {
  for await (const { name, skipped, error, lost } of checkConformance(device)) {
    const result = skipped ? 'skipped' : error === undefined ? 'ok' : 'FAILED'
    yield { kind: 'instruction', name, result, note: error ?? (skipped ? 'for other GPUs' : ''), ...(lost && { lost }) }
    if (lost) return
  }
  for await (const { op, against, ok, share, error, lost } of checkKernels(device)) {
    const note = Number.isNaN(share) ? 'no number' : `${(100 * share).toFixed(0)} % of what is allowed`
    yield { kind: against, name: op, result: ok ? 'ok' : 'FAILED', note: error ?? note, ...(lost && { lost }) }
  }
}

/** Runs all checks and prints them; exit code 1 where one fails. */
export async function kernelsCommand(settings: Settings, console: Console): Promise<number> {
  const device = Device.get(settings.device.startsWith('cuda') ? settings.device : 'cuda')
  const live = native.live()
  const ok = await reportChecks(device, checksOf(device), console)
  const left = native.live() - live
  if (left !== 0) console.warn(`${left} tensors were not freed`)
  return ok && left === 0 ? 0 : 1
}

/** Prints checks as they come, and their sums; whether all passed. */
export async function reportChecks(device: Device, checks: AsyncIterable<Check>, console: Console): Promise<boolean> {
  console.line(`${device.name}  ${device.hardware}`)
  const counts = { ok: 0, skipped: 0, FAILED: 0 }
  const failures: Check[] = []
  for await (const check of checks) {
    const { kind, name, result, note } = check
    counts[result]++
    if (result === 'FAILED') failures.push(check)
    const mark = paint(console.color, result === 'FAILED' ? 'red' : 'green', result)
    console.line(`${kind.padEnd(13)}${name.padEnd(64)}${mark}${note && `  ${note}`}`)
  }
  const { ok: passed, FAILED: failed, skipped } = counts
  console.line(`${passed} checks passed, ${failed} failed, ${skipped} are for other GPUs`)
  const { name, hardware } = device
  console.event({ type: 'kernels', device: name, hardware, passed, failed, skipped, failures })
  const last = failures.at(-1)
  if (last?.lost) giveUp(last, console)
  return failed === 0
}

/** Says why the checks ended early. A kernel that never ends can't be stopped, so the process is. */
function giveUp({ name, lost }: Check, console: Console): void {
  const why = lost === 'hung' ? 'does not end' : 'broke the context of the GPU, as a fault of memory does'
  console.warn(`${name} ${why}: the checks after it were not run`)
  if (lost === 'hung') process.kill(process.pid, 'SIGKILL')
}
