// The least that a step's products can take on this processor: their operations, at the rate of multiply-adds on
// registers alone, which build/test/peak_bench measures.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { check } from '../lib/errors.ts'
import { packageRoot } from '../lib/io/package.ts'
import { round } from './machine.ts'

/** GFLOP/s of one core, by CPU seconds. */
interface Peak {
  readonly isa: string
  readonly f32_gflops: number
  readonly bf16_gflops: number
}

/** Passes as large as the forward one: adapters need gradients of inputs, full fine-tuning those of weights too. */
const PASSES: Readonly<Record<string, number>> = { fwd: 1, full: 3 }

/** Measures the peak now; undefined where the program is not built or does not know this instruction set. */
export function peakGflops(dtype: 'fp32' | 'bf16' | 'nf4'): number | undefined {
  const program = join(packageRoot, 'build/test/peak_bench')
  if (!existsSync(program)) return undefined
  const { status, stdout, stderr } = spawnSync(program, { encoding: 'utf8' })
  check(status === 0, 'ERR_DATA', () => `peak_bench failed: ${stderr}`)
  const peak = JSON.parse(stdout) as Peak
  return (dtype === 'fp32' ? peak.f32_gflops : peak.bf16_gflops) || undefined
}

/**
 * Fields of a result: the peak, the floor of a step in CPU seconds, and how often that fits into what the step took.
 * @param forward operations of the forward pass's linear layers, GFLOP
 */
export function floorOf(method: string, forward: number, peak: number | undefined, cpu: number) {
  if (peak === undefined) return {}
  const floor = ((PASSES[method] ?? 2) * forward) / peak
  return { peak_gflops: round(peak, 1), floor_s: round(floor, 3), over_floor: round(cpu / floor, 3) }
}
