import { check } from '../errors.ts'
import { checkOptions } from '../options.ts'

export const SCHEDULES = ['constant', 'linear', 'cosine'] as const

/** How the learning rate goes on after the warm-up: constant, or down to 0 in a line or half a cosine. */
export type Schedule = (typeof SCHEDULES)[number]

/** What decides the rate of a step. */
export interface ScheduleOptions {
  schedule: Schedule
  lr: number
  /** Steps over which the rate rises as (t + 1) / warmupSteps. */
  warmupSteps: number
  totalSteps: number
}

/** The learning rate of step t, from 0. After the warm-up: constant, (T - t) / (T - W), or half a cosine. */
export function learningRate(t: number, options: ScheduleOptions): number {
  checkOptions('learningRate', options, { schedule: true, lr: true, warmupSteps: true, totalSteps: true })
  const { schedule, lr, warmupSteps: W, totalSteps: T } = options
  if (t < W) return (lr * (t + 1)) / W
  if (schedule === 'linear') return (lr * Math.max(0, T - t)) / Math.max(1, T - W)
  if (schedule === 'cosine') return lr * 0.5 * (1 + Math.cos((Math.PI * Math.min(t - W, T - W)) / Math.max(1, T - W)))
  return lr
}

/** Steps of a warm-up given as a share below 1 of all steps, or as a number of steps. */
export function warmupStepsOf(warmup: number, totalSteps: number): number {
  check(warmup >= 0, 'ERR_OPTION', () => `warmup: ${warmup}, expected 0 or more`)
  return warmup < 1 ? Math.round(warmup * totalSteps) : Math.round(warmup)
}
