// Every instruction that the kernels use, against a scalar definition, on the GPU itself: the cases of
// cuda/conformance/, which are part of the addon.

import { native } from '../native.ts'
import type { Device } from '../tensor.ts'
import { attempt, type CaseOutcome } from './attempt.ts'

/** One case; without `error` it passed, or is for other GPUs. */
export interface ConformanceCheck extends CaseOutcome {
  readonly name: string
  readonly skipped: boolean
}

/**
 * Runs the conformance cases on a GPU, until one makes it unusable. `filter`: part of a case's name; `patience`:
 * milliseconds a case may take.
 */
export async function* checkConformance(
  device: Device,
  filter = '',
  patience = 60_000,
): AsyncGenerator<ConformanceCheck> {
  for (const [index, { name, runs }] of native.conformanceCases(device.id).entries()) {
    if (!name.includes(filter)) continue
    const found: CaseOutcome = runs ? await attempt(device, () => runCase(device, index), patience) : {}
    yield { name, skipped: !runs, ...found }
    if (found.lost) return
  }
}

async function runCase(device: Device, index: number): Promise<void> {
  native.runConformance(device.id, index)
  await device.synchronize()
}
