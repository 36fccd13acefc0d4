/**
 * `lowrank/trackers`: where the numbers of a run go as it runs: TensorBoard, JSON lines, or a tracker of one's own.
 *
 * @module
 */

export {
  createTracker,
  jsonlTracker,
  type RunDescription,
  type RunStatus,
  type Tracker,
  tensorboardTracker,
  trackerNames,
} from '../trackers/index.ts'
export type { TensorboardOptions } from '../trackers/tensorboard.ts'
