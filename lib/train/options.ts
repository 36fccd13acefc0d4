// The options of training, each once: flags, YAML keys, the types of `train`, checks, help and docs follow from here.

import { STATES } from '../optim/arena.ts'
import { SCHEDULES } from '../optim/schedule.ts'
import type { OptionRow, ValueOf } from '../options.ts'

export interface TrainRow extends OptionRow {
  /** Changes no weight: a checkpoint goes on under another value. */
  readonly neutral?: boolean
}

/** Every option of a run: kind, range, default, help. Types, checks, flags, YAML and docs follow from it. */
export const TRAIN_OPTIONS = {
  epochs: {
    kind: 'integer',
    help: 'Passes over the training split',
    min: 1,
    found: 'by the number of steps, 3 to 20; see docs/defaults.md',
  },
  maxSteps: { kind: 'integer', help: 'Stop after so many optimizer steps', min: 1, found: 'all epochs' },
  time: {
    kind: 'duration',
    help: 'Plan epochs, steps and schedule to end within this time (90s, 2m, 1h30m), evaluation and saving counted',
    found: 'no limit',
  },
  batchSize: { kind: 'integer', default: 16, help: 'Sequences of a micro-batch', min: 1 },
  accumulate: { kind: 'integer', default: 1, help: 'Micro-batches of an optimizer step', min: 1 },
  evalBatchSize: { kind: 'integer', help: 'Sequences of an evaluation batch', min: 1, found: 'batchSize' },
  lr: { kind: 'number', help: 'Peak learning rate', min: 1e-12, found: 'by method and width; see docs/defaults.md' },
  schedule: {
    kind: 'choice',
    default: 'linear',
    help: 'Course of the learning rate after the warm-up',
    choices: SCHEDULES,
  },
  warmup: { kind: 'number', default: 0.06, help: 'Steps of warm-up, or below 1 their share', min: 0 },
  weightDecay: {
    kind: 'number',
    default: 0.01,
    help: 'Decoupled weight decay; biases and norms have none',
    min: 0,
  },
  clip: { kind: 'number', default: 1, help: 'Largest gradient norm; 0 is off', min: 0 },
  beta1: { kind: 'number', default: 0.9, help: 'Decay of the first moment', min: 0, max: 0.999999 },
  beta2: { kind: 'number', default: 0.999, help: 'Decay of the second moment', min: 0, max: 0.999999 },
  eps: { kind: 'number', default: 1e-8, help: 'Added to the root of the second moment', min: 1e-30 },
  optimizerStates: {
    kind: 'choice',
    default: 'f32',
    help: "AdamW's moments: 8bit takes a quarter of the memory of f32",
    choices: STATES,
  },
  seed: { kind: 'integer', default: 42, help: 'Keys the split, data order, initial values and dropout', min: 0 },
  groupByLength: {
    kind: 'boolean',
    default: false,
    help: 'Put sequences of like length into one micro-batch',
  },
  dropLast: { kind: 'boolean', default: false, help: 'Leave out a last step that is not full' },
  gradientCheckpointing: {
    kind: 'boolean',
    default: false,
    help: 'Run each layer again in backward: less memory, a third more time, the same weights to the bit',
    neutral: true,
  },
  labelSmoothing: {
    kind: 'number',
    default: 0,
    help: 'Share of the target spread over all classes',
    min: 0,
    max: 0.999,
  },
  classWeights: { kind: 'weights', help: 'balanced, or one weight a class', found: 'none', neutral: true },
  evaluateBefore: {
    kind: 'boolean',
    default: true,
    help: 'Evaluate before training, for the before/after table',
    neutral: true,
  },
  evalEvery: { kind: 'every', default: 'epoch', help: 'Validate every epoch, never, or every so many steps' },
  metric: {
    kind: 'text',
    help: 'Validation metric that picks the best step',
    found: 'accuracy, f1 or loss, by the task',
  },
  patience: {
    kind: 'integer',
    help: 'Stop after so many evaluations without a better one; 0 is never',
    min: 0,
    found: 'where epochs are found, 5 or more by the validation split, else 0',
  },
  checkpointEvery: {
    kind: 'every',
    default: 'epoch',
    help: 'Save every epoch, never, or every so many steps',
    neutral: true,
  },
  keepCheckpoints: { kind: 'integer', default: 1, help: 'Checkpoints to keep beside the best', min: 1, neutral: true },
  resume: {
    kind: 'pathOrTrue',
    default: false,
    help: 'Continue the run in the output folder (or from a checkpoint): same data and settings',
    neutral: true,
  },
  overwrite: { kind: 'boolean', default: false, help: 'Replace a run that stands in the folder', neutral: true },
} as const satisfies Readonly<Record<string, TrainRow>>

/** Names of the options of a run. */
export type TrainOptionName = keyof typeof TRAIN_OPTIONS

/** Options as a caller gives them. */
export type TrainValues = { readonly [K in TrainOptionName]?: ValueOf<(typeof TRAIN_OPTIONS)[K]> | undefined }

/** The rows that have a default. */
type Defaulted = {
  [K in TrainOptionName]: (typeof TRAIN_OPTIONS)[K] extends { readonly default: unknown } ? K : never
}[TrainOptionName]

/** Every default that is a value, not found out. */
export const TRAIN_DEFAULTS = Object.fromEntries(
  Object.entries(TRAIN_OPTIONS).flatMap(([name, row]) => ('default' in row ? [[name, row.default]] : [])),
) as { readonly [K in Defaulted]: ValueOf<(typeof TRAIN_OPTIONS)[K]> }
