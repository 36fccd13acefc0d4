// The least that a step's products can take on this processor: their operations, at the rate of multiply-adds on
// registers alone, which build/test/peak_bench measures.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { check } from '../lib/errors.ts'
import { packageRoot } from '../lib/io/package.ts'
import { round } from './machine.ts'

/** GFLOP/s of one core, by CPU seconds: of its fastest millisecond, and of the middle one of half a second. */
interface Peak {
  readonly isa: string
  readonly f32_gflops: number
  readonly f32_sustained: number
  readonly bf16_gflops: number
  readonly bf16_sustained: number
}

export interface Rates {
  readonly best: number
  readonly sustained: number
}

/** Passes as large as the forward one: adapters need gradients of inputs, full fine-tuning those of weights too. */
const PASSES: Readonly<Record<string, number>> = { fwd: 1, full: 3 }

/** Measures the peak now; undefined where the program is not built or does not know this instruction set. */
export function peakRates(dtype: 'fp32' | 'bf16' | 'nf4'): Rates | undefined {
  const program = join(packageRoot, 'build/test/peak_bench')
  if (!existsSync(program)) return undefined
  const { status, stdout, stderr } = spawnSync(program, { encoding: 'utf8' })
  check(status === 0, 'ERR_DATA', () => `peak_bench failed: ${stderr}`)
  const peak = JSON.parse(stdout) as Peak
  const [best, sustained] =
    dtype === 'fp32' ? [peak.f32_gflops, peak.f32_sustained] : [peak.bf16_gflops, peak.bf16_sustained]
  return best > 0 ? { best, sustained } : undefined
}

/**
 * Fields of a result: the peak, the floor of a step in CPU seconds, and how often that fits into what the step took;
 * the same by the rate that the core sustained, before and after.
 * @param forward operations of the forward pass's linear layers, GFLOP
 */
export function floorOf(method: string, forward: number, rates: readonly Rates[], cpu: number) {
  if (rates.length === 0) return {}
  const operations = (PASSES[method] ?? 2) * forward
  const peak = Math.max(...rates.map(rate => rate.best))
  const sustained = rates.reduce((sum, rate) => sum + rate.sustained, 0) / rates.length
  return {
    peak_gflops: round(peak, 1),
    floor_s: round(operations / peak, 3),
    over_floor: round((cpu * peak) / operations, 3),
    sustained_gflops: round(sustained, 1),
    over_sustained: round((cpu * sustained) / operations, 3),
  }
}
