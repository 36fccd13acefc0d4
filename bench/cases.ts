// Models that a training step is measured with: shapes alone, the weights are random. bench/peers/train_step.py reads
// the same bench/cases.json; `bert-base` and `bert-large` there are for GPUs.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../lib/io/package.ts'

/** A model, and the batch it is trained with. */
export interface StepCase {
  readonly task: 'sequence-classification' | 'causal-lm'
  /** Sequences, tokens of each, rank. */
  readonly B: number
  readonly S: number
  readonly r: number
  readonly config: {
    readonly model_type: string
    readonly vocab_size: number
    readonly [key: string]: string | number | boolean
  }
  /** Switches every dropout of the model off. */
  readonly noDropout: Readonly<Record<string, number>>
  /** Layers that an adapter is put on, by the name of the choice. */
  readonly targets: Readonly<Record<string, readonly string[] | 'all-linear'>>
}

export const CASES: Readonly<Record<string, StepCase>> = JSON.parse(
  readFileSync(join(packageRoot, 'bench/cases.json'), 'utf8'),
)

/**
 * Operations of a forward pass, GFLOP: those of all linear layers, a language model's output among them, and what its
 * causal attention multiplies.
 * @param linear weights of the linear layers
 */
export function forwardGflop({ task, B, S }: StepCase, linear: number, layers: number, hidden: number): number {
  const attention = task === 'causal-lm' ? 4 * layers * hidden * ((S * (S + 1)) / 2) * B : 0
  return (2 * linear * B * S + attention) / 1e9
}
