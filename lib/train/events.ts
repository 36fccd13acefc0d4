// What `train` takes and what it tells: options and events, as plain data.

import type { Example } from '../data/example.ts'
import type { List } from '../data/list.ts'
import type { Transform } from '../data/transform.ts'
import type { Say } from '../generate/answers.ts'
import type { Model } from '../model.ts'
import type { MemoryUse } from '../native.ts'
import type { ExampleSet } from '../tasks/encode.ts'
import type { Answer } from '../tasks/task.ts'
import type { Evaluation } from './evaluate.ts'
import type { TrainValues } from './options.ts'
import type { Communicator, Objective } from './step.ts'

/** Examples by split, as lists or as `prepareData` gives them; a missing split is not evaluated. */
export interface TrainData {
  readonly train: ExampleSet
  readonly validation?: ExampleSet | undefined
  readonly test?: ExampleSet | undefined
}

/** The same, as lists. */
export interface TrainExamples extends TrainData {
  readonly train: List<Example>
  readonly validation?: List<Example> | undefined
  readonly test?: List<Example> | undefined
}

/**
 * Settings of a run; everything has a default. Numbers, their defaults and ranges:
 * `TRAIN_OPTIONS` of `lowrank/train`, the table that docs/cli.md prints.
 */
export interface TrainOptions extends TrainValues {
  /** Stops after the step in progress, with a checkpoint where there is an output folder. */
  readonly signal?: AbortSignal | undefined
  /** What each micro-batch is trained for. Default: the loss of the model's head against the labels. */
  readonly objective?: Objective | undefined
  /**
   * A larger model that the run learns from beside the labels, see `distilled`: of the same task on the same device.
   * It has to fit, and is left as it is.
   */
  readonly teacher?: Model | undefined
  /** Processes that train together; each gives its own share of the data. Default: this process alone. */
  readonly communicator?: Communicator | undefined
  /** Told how many examples of a split are evaluated so far: an evaluation is one event only, when it is done. */
  readonly progress?: ((split: 'validation' | 'test', done: number, total: number) => void) | undefined
  /** Changes examples as they go into a batch. Masked LM has labels only by it: `maskingOf(tokenizer)`. */
  readonly transform?: Transform | undefined
  /** Generates answers to the test split, else the validation split, before and after: `sayWith(tokenizer, …)`. */
  readonly say?: Say | undefined
  /** Where checkpoints go; without it there are none. */
  readonly outputDir?: string | undefined
}

/** The run as it starts. */
export interface StartEvent {
  readonly type: 'start'
  readonly task: string
  /** `single`, `multi` or `regression`. */
  readonly problem: string
  readonly labels: readonly string[]
  /** Name of the method: `lora`, `full`. */
  readonly method: string
  /** Trained numbers, and all of the model with them. */
  readonly trainable: number
  readonly total: number
  readonly device: string
  /** Instruction set of the CPU, or name and capability of the GPU. */
  readonly isa: string
  /** How the frozen base is stored, and the precision of products. */
  readonly storage: string
  readonly compute: string
  readonly threads: number
  readonly epochs: number
  readonly stepsPerEpoch: number
  readonly totalSteps: number
  /** Sequences of a micro-batch, or its most tokens. */
  readonly batchSize?: number
  readonly batchTokens?: number
  readonly accumulate: number
  readonly lr: number
  /** Of a head that the base lacks, where it is said or found. */
  readonly headLr?: number
  readonly seed: number
  /** Which model preferences are held against: with the adapter off, or as it stood before the first step. */
  readonly reference?: 'base' | 'start'
  /** The model that is learned from: its parameters, its share of the loss, and what logits are divided by. */
  readonly teacher?: { readonly parameters: number; readonly weight: number; readonly temperature: number }
  /** What picks the best step. */
  readonly metric: string
  readonly higherIsBetter: boolean
  readonly examples: { readonly train: number; readonly validation: number; readonly test: number }
  /** Steps done before, their record and the folder it came from, where the run goes on from a checkpoint. */
  readonly resumed?: Resumed
}

/** Where a run goes on from. */
export interface Resumed {
  readonly step: number
  readonly path: string
  readonly history: readonly HistoryEntry[]
  /** What was said before training, of splits that are still the same. */
  readonly before: readonly Before[]
}

/** What a model said of a split before it was trained. */
export interface Before {
  readonly split: 'validation' | 'test'
  readonly metrics: Readonly<Record<string, number>>
  /** One an example. */
  readonly predictions: readonly Answer[]
}

/** One optimizer step is done. Told in order, one step behind the device. */
export interface StepEvent {
  readonly type: 'step'
  /** Steps done, from 1. */
  readonly step: number
  readonly totalSteps: number
  /** Epochs done, with the part of the current one. */
  readonly epoch: number
  /** Mean over the supervised weight of the whole step, penalty excluded. */
  readonly loss: number
  /** Penalty on the factors, where one is set. */
  readonly penalty?: number
  /** Global norm before clipping. */
  readonly gradNorm: number
  readonly lr: number
  readonly samples: number
  readonly tokens: number
  /** Since the last step was done. */
  readonly seconds: number
  readonly tokensPerSecond: number
  readonly memory: MemoryUse
}

/** All steps of an epoch are done. */
export interface EpochEvent {
  readonly type: 'epoch'
  /** From 1. */
  readonly epoch: number
  readonly step: number
  /** Mean of the step losses, weighted by their supervised weight. */
  readonly loss: number
}

/** A split was evaluated. `before`: the model as given; `epoch`: on the way; `after`: with the best step's weights. */
export interface EvaluationEvent {
  readonly type: 'evaluation'
  readonly when: 'before' | 'epoch' | 'after'
  readonly split: 'validation' | 'test'
  readonly epoch: number
  readonly step: number
  readonly loss: number
  readonly metrics: Readonly<Record<string, number>>
  /** The best one of the validation split so far. */
  readonly best: boolean
  /** All of it: the full report and the predictions. */
  readonly evaluation: Evaluation
}

/** A checkpoint is on the disk. */
export interface CheckpointEvent {
  readonly type: 'checkpoint'
  readonly step: number
  readonly path: string
  /** Whether it holds the best step so far. */
  readonly best: boolean
}

/** Names of what a run warns of. */
export type WarningCode =
  | 'truncated'
  | 'one-class'
  | 'missing-class'
  | 'empty-split'
  | 'unlabelled'
  | 'low-lr'
  | 'high-lr'
  | 'long-warmup'
  | 'memory'
  | 'checkpoint-skipped'
  | 'checkpoint-failed'
  | 'checkpoint-left'
  | 'not-a-number'
  | 'undertrained'
  | 'over-fitted'

/** Something that is likely not meant. The run goes on. */
export interface WarningEvent {
  readonly type: 'warning'
  readonly code: WarningCode
  readonly message: string
  readonly cure: string
}

/** Why a run ended. */
export type EndReason = 'finished' | 'early-stopping' | 'aborted'

/** The last event. The model holds the weights of `bestStep`, but after an abort those of the last step. */
export interface EndEvent {
  readonly type: 'end'
  readonly reason: EndReason
  readonly step: number
  readonly epoch: number
  /** Undefined without a validation split. */
  readonly bestStep?: number
  readonly bestMetric?: number
  readonly metric: string
  /** Of training and evaluation, earlier parts of a resumed run included. */
  readonly seconds: number
  readonly tokens: number
  readonly memory: MemoryUse
  /** The newest checkpoint, where there is one. */
  readonly checkpoint?: string
  readonly history: readonly HistoryEntry[]
}

/** What a run tells, in order: start, warnings, evaluations before, steps …, evaluations after, end. */
export type TrainEvent =
  | StartEvent
  | StepEvent
  | EpochEvent
  | EvaluationEvent
  | CheckpointEvent
  | WarningEvent
  | EndEvent

/** The record of a run, kept with its checkpoints. Steps are thinned to about a thousand. */
export type HistoryEntry =
  | {
      readonly kind: 'step'
      readonly step: number
      readonly epoch: number
      readonly loss: number
      readonly gradNorm: number
      readonly lr: number
    }
  | {
      readonly kind: 'evaluation'
      readonly when: EvaluationEvent['when']
      readonly split: EvaluationEvent['split']
      readonly step: number
      readonly epoch: number
      readonly loss: number
      readonly metrics: Readonly<Record<string, number>>
      readonly seconds: number
      readonly samples: number
    }
