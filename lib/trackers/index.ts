// Trackers by name.

import { join } from 'node:path'
import { fail, nearest } from '../errors.ts'
import { jsonlTracker } from './jsonl.ts'
import { tensorboardTracker } from './tensorboard.ts'
import type { Tracker } from './tracker.ts'

export { jsonlTracker } from './jsonl.ts'
export { tensorboardTracker } from './tensorboard.ts'
export type { RunDescription, RunStatus, Tracker } from './tracker.ts'

const trackers = new Map<string, (folder: string) => Tracker>([
  ['tensorboard', folder => tensorboardTracker(join(folder, 'tensorboard'))],
  ['jsonl', folder => jsonlTracker(join(folder, 'log.jsonl'))],
])

/** Known tracker names. */
export function trackerNames(): string[] {
  return [...trackers.keys()]
}

/** The tracker `name`, writing into the output folder of a run. Throws ERR_OPTION for an unknown name. */
export function createTracker(name: string, folder: string): Tracker {
  const create = trackers.get(name)
  if (!create)
    fail(
      'ERR_OPTION',
      `trackers: "${name}" is unknown${nearest(name, trackers.keys())}; use ${trackerNames().join(', ')}`,
    )
  return create(folder)
}
