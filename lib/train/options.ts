// The options of training, each once: flags, YAML keys, the types of `train`, checks, help and docs follow from here.

import { STATES } from '../optim/arena.ts'
import { SCHEDULES } from '../optim/schedule.ts'
import { defaultsOf, type FilledOf, type OptionRow, SEED, type ValuesOf } from '../options.ts'

interface TrainRow extends OptionRow {
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
    search: { from: 1, to: 20 },
  },
  maxSteps: { kind: 'integer', help: 'Stop after so many optimizer steps', min: 1, found: 'all epochs' },
  time: {
    kind: 'duration',
    help: 'Plan epochs, steps and schedule to end within this time (90s, 2m, 1h30m), evaluation and saving counted',
    found: 'no limit',
  },
  batchSize: {
    kind: 'integer',
    default: 16,
    help: 'Sequences of a micro-batch',
    min: 1,
    search: { values: [8, 16, 32, 64] },
  },
  batchTokens: {
    kind: 'integer',
    help: 'Most tokens of a micro-batch, in place of batchSize: as many sequences as go into it',
    min: 1,
    found: 'by batchSize',
    instead: 'batchSize',
  },
  accumulate: { kind: 'integer', default: 1, help: 'Micro-batches of an optimizer step', min: 1 },
  evalBatchSize: { kind: 'integer', help: 'Sequences of an evaluation batch', min: 1, found: 'batchSize, else 16' },
  lr: {
    kind: 'number',
    help: 'Peak learning rate',
    min: 1e-12,
    found: 'by method and width; see docs/defaults.md',
    search: { from: 1e-5, to: 1e-2, scale: 'log' },
  },
  headLr: {
    kind: 'number',
    help: 'Peak learning rate of a head that the base lacks',
    min: 1e-12,
    found: 'lr; where that is found too, up to four times as much; see docs/defaults.md',
    search: { from: 1e-4, to: 1e-1, scale: 'log' },
  },
  schedule: {
    kind: 'choice',
    default: 'linear',
    help: 'Course of the learning rate after the warm-up',
    choices: SCHEDULES,
    search: { values: SCHEDULES },
  },
  warmup: {
    kind: 'number',
    default: 0.06,
    help: 'Steps of warm-up, or below 1 their share',
    min: 0,
    search: { from: 0, to: 0.2 },
  },
  weightDecay: {
    kind: 'number',
    default: 0.01,
    help: 'Decoupled weight decay; biases and norms have none',
    min: 0,
    search: { from: 1e-4, to: 0.1, scale: 'log' },
  },
  clip: {
    kind: 'number',
    default: 1,
    help: 'Largest gradient norm; 0 is off',
    min: 0,
    search: { values: [0, 0.5, 1, 5] },
  },
  beta1: { kind: 'number', default: 0.9, help: 'Decay of the first moment', min: 0, max: 0.999999 },
  beta2: {
    kind: 'number',
    default: 0.999,
    help: 'Decay of the second moment',
    min: 0,
    max: 0.999999,
    search: { values: [0.95, 0.98, 0.999] },
  },
  eps: { kind: 'number', default: 1e-8, help: 'Added to the root of the second moment', min: 1e-30 },
  optimizerStates: {
    kind: 'choice',
    default: 'f32',
    help: "AdamW's moments: 8bit takes a quarter of the memory of f32",
    choices: STATES,
  },
  seed: { kind: 'integer', default: SEED, help: 'Keys the split, data order, initial values and dropout', min: 0 },
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
  neftune: {
    kind: 'number',
    default: 0,
    help: 'Noise on word embeddings while training (NEFTune): its alpha, 5 to 15; 0 is none',
    min: 0,
    max: 1000,
  },
  labelSmoothing: {
    kind: 'number',
    default: 0,
    help: 'Share of the target spread over all classes',
    min: 0,
    max: 0.999,
    search: { from: 0, to: 0.2 },
  },
  teacherWeight: {
    kind: 'number',
    help: "Share of the loss that is the teacher's; the labels have the rest",
    min: 0,
    max: 1,
    found: '0.5 with a teacher',
  },
  teacherTemperature: {
    kind: 'number',
    help: "What the teacher's and the model's logits are divided by: above 1, unlikely classes count more",
    min: 0.01,
    max: 1000,
    found: '2 with a teacher',
  },
  classWeights: {
    kind: 'weights',
    help: 'balanced, none, or one weight a class',
    found: 'none; of entity tags 0.4 for O, see docs/defaults.md',
    neutral: true,
  },
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
export type TrainValues = ValuesOf<typeof TRAIN_OPTIONS>

/** Every default that is a value, not found out. */
export const TRAIN_DEFAULTS = defaultsOf(TRAIN_OPTIONS) as Partial<FilledOf<typeof TRAIN_OPTIONS>>
