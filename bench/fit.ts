// The plain training loop of the comparisons: every choice in it is a setting, so that it can be made equal to the
// other side's. `train` of lib/train is the product's own.

import { batches } from '../lib/data/batches.ts'
import type { Example } from '../lib/data/example.ts'
import type { List } from '../lib/data/list.ts'
import type { Model } from '../lib/model.ts'
import type { Parameter } from '../lib/nn/module.ts'
import { AdamW } from '../lib/optim/adamw.ts'
import { Arena } from '../lib/optim/arena.ts'
import { learningRate } from '../lib/optim/schedule.ts'
import { type StepNumbers, Stepper } from '../lib/train/step.ts'
import { cpuSeconds, mean } from './machine.ts'

export interface FitSettings {
  readonly epochs: number
  readonly batchSize: number
  readonly lr: number
  /** Share of all steps, rounded up. */
  readonly warmup: number
  readonly weightDecay: number
  readonly clip: number
  readonly seed: number
  /** Stop after so many epochs without a better one; without it all epochs run. */
  readonly patience?: number
}

/** What came of it. Times are those of training alone, evaluation is apart. */
export interface Fit {
  readonly steps: number
  readonly bestEpoch: number
  readonly trained: number
  readonly epochs: readonly (Record<string, number> & { readonly loss: number })[]
  readonly cpu: number
  readonly wall: number
  readonly evalCpu: number
}

/**
 * Trains parameters with AdamW under a linear schedule; after each epoch `validate` is asked, and the weights of the
 * best epoch (`score`, the earliest of equals) are put back at the end.
 */
export async function fit(
  model: Model,
  parameters: readonly Parameter[],
  examples: List<Example>,
  settings: FitSettings,
  validate: () => Promise<Record<string, number>>,
  score: string,
): Promise<Fit> {
  const { epochs, batchSize, lr, warmup, weightDecay, clip, seed, patience = epochs } = settings
  const arena = new Arena(parameters, model.device)
  const optimizer = new AdamW(arena, { weightDecay, clip })
  const stepper = new Stepper(model, optimizer, { seed })
  const totalSteps = Math.ceil(examples.length / batchSize) * epochs
  const warmupSteps = Math.max(1, Math.ceil(warmup * totalSteps))
  const done: Fit['epochs'][number][] = []
  let best: { epoch: number; score: number; weights: Float32Array } | undefined
  const used = { cpu: 0, wall: 0, evalCpu: 0 }
  for (let epoch = 0; epoch < epochs && epoch - (best?.epoch ?? 0) < patience; epoch++) {
    const [cpu, start] = [cpuSeconds(), performance.now()]
    const losses: number[] = []
    let pending: Promise<StepNumbers> | undefined
    for (const step of batches(examples, { collate: model.head.collate, batchSize, shuffle: true, seed, epoch })) {
      const index = optimizer.steps
      const rate = learningRate(index, { schedule: 'linear', lr, warmupSteps, totalSteps })
      const { numbers } = await stepper.launch(step, index, rate)
      if (pending) losses.push((await pending).loss)
      pending = numbers
    }
    losses.push((await pending!).loss)
    const trainedAt = cpuSeconds()
    used.cpu += trainedAt - cpu
    used.wall += (performance.now() - start) / 1000
    const metrics = await validate()
    used.evalCpu += cpuSeconds() - trainedAt
    done.push({ ...metrics, loss: mean(losses) })
    if (!best || metrics[score]! > best.score)
      best = { epoch: epoch + 1, score: metrics[score]!, weights: (await arena.params.data()) as Float32Array }
  }
  arena.params.upload(best!.weights)
  const trained = arena.size
  const steps = optimizer.steps
  arena.dispose()
  return { steps, bestEpoch: best!.epoch, trained, epochs: done, ...used }
}
