/**
 * `lowrank/optim`: AdamW over an arena of parameters, and schedules of its learning rate.
 *
 * @module
 */

export { AdamW, type AdamWOptions } from '../optim/adamw.ts'
export type { Slice } from '../optim/arena.ts'
export { Arena, type ArenaGroup, type States } from '../optim/arena.ts'
export { learningRate, type Schedule, type ScheduleOptions, warmupStepsOf } from '../optim/schedule.ts'
