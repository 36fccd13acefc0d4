/**
 * `lowrank/study`: many runs on one base: comparing methods, searching over options, and the runs they are made of.
 *
 * @module
 */

export type { RunLength } from '../study/budget.ts'
export type { ComparedMethod, CompareEvent, CompareOptions, Member, MethodChoice } from '../study/compare.ts'
export type { Choice, Distribution, Range, Study, Trial, TrialState } from '../study/journal.ts'
export {
  type Bench,
  type Failed,
  type Outcome,
  type Pruned,
  runMember,
  type Spec,
  type Watching,
} from '../study/member.ts'
export { type Ended, runMembers, type Together, type Validated } from '../study/members.ts'
export type { Sampler } from '../study/samplers.ts'
export {
  type ComparisonOptions,
  compare,
  type SweepOptions,
  type SweepResult,
  sweep,
} from '../study/search.ts'
export { parseSpace, type Space } from '../study/space.ts'
export type { Sweep, SweepEvent } from '../study/sweep.ts'
