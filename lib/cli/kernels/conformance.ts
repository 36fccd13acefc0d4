// Every instruction that the kernels use, against a scalar definition, on the GPU itself: a program of its own, since
// it needs no tensors. Builds with CUDA make it beside the addon.

import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { nativePath } from '../../native.ts'
import type { Device } from '../../tensor.ts'

/** What the program found; `output` are its lines on what failed. */
export interface Conformance {
  readonly passed: number
  readonly failed: number
  readonly skipped: number
  readonly output: readonly string[]
}

/** Where the program stands, whether or not it is there. */
export const conformanceProgram = (): string => join(dirname(dirname(nativePath())), 'gpu_conformance')

/** Runs the conformance cases on a device; undefined where the build has no such program. */
export function checkConformance(device: Device, program = conformanceProgram()): Conformance | undefined {
  if (!existsSync(program)) return undefined
  const index = Number(device.name.split(':')[1] ?? 0)
  const visible = process.env.CUDA_VISIBLE_DEVICES?.split(',')[index] ?? String(index)
  const { stdout, stderr, error } = spawnSync(program, {
    encoding: 'utf8',
    timeout: 120_000,
    env: { ...process.env, CUDA_VISIBLE_DEVICES: visible },
  })
  const counts = stdout?.match(/^(\d+) passed, (\d+) failed, (\d+) skipped$/m)
  const output = `${stdout ?? ''}${stderr ?? ''}`.split('\n').filter(line => line && !/^(ok|skip)/.test(line))
  if (!counts) return { passed: 0, failed: 1, skipped: 0, output: [...output, error?.message ?? 'it ended early'] }
  const [passed, failed, skipped] = counts.slice(1).map(Number) as [number, number, number]
  return { passed, failed, skipped, output: output.filter(line => line !== counts[0]) }
}
