// trainer_state.json as the Trainer of transformers writes it, for tools that read it.

import { type PyFloat, type PyJson, pyFloat } from '../io/json.ts'
import type { HistoryEntry } from './events.ts'
import type { RunState } from './state.ts'

/** What the file says beside the state of the run. */
export interface TrainerFacts {
  readonly totalSteps: number
  readonly stepsPerEpoch: number
  readonly epochs: number
  readonly batchSize: number | undefined
  readonly metric: string
  /** Path of the best checkpoint, where there is one. */
  readonly bestCheckpoint: string | undefined
  /** Steps between two evaluations and two saves. */
  readonly evalSteps: number
  readonly saveSteps: number
}

const float = (value: number): PyFloat | null => (Number.isFinite(value) ? pyFloat(value) : null)

/** The object of `trainer_state.json`; numbers that JSON lacks are null. */
export function trainerState(state: RunState, facts: TrainerFacts): PyJson {
  const { step, best, history, tokens } = state
  return {
    best_global_step: best?.step ?? null,
    best_metric: best ? float(best.value) : null,
    best_model_checkpoint: facts.bestCheckpoint ?? null,
    epoch: float(step / facts.stepsPerEpoch),
    eval_steps: facts.evalSteps,
    global_step: step,
    is_hyper_param_search: false,
    is_local_process_zero: true,
    is_world_process_zero: true,
    log_history: history.map(logEntry),
    logging_steps: Math.ceil(facts.totalSteps / 1000),
    max_steps: facts.totalSteps,
    num_input_tokens_seen: tokens,
    num_train_epochs: facts.epochs,
    save_steps: facts.saveSteps,
    stateful_callbacks: {
      TrainerControl: {
        args: {
          should_epoch_stop: false,
          should_evaluate: false,
          should_log: false,
          should_save: true,
          should_training_stop: step >= facts.totalSteps,
        },
        attributes: {},
      },
    },
    total_flos: float(0),
    train_batch_size: facts.batchSize ?? null,
    trial_name: null,
    trial_params: null,
  }
}

function logEntry(entry: HistoryEntry): PyJson {
  const { step, epoch, loss } = entry
  if (entry.kind === 'step') {
    const { gradNorm, lr } = entry
    return { epoch: float(epoch), grad_norm: float(gradNorm), learning_rate: float(lr), loss: float(loss), step }
  }
  const { split, when, metrics, seconds, samples } = entry
  const prefix = split === 'test' ? 'test' : when === 'before' ? 'before' : 'eval'
  const named = Object.entries(metrics).map(([name, value]) => [`${prefix}_${name}`, float(value)])
  return {
    epoch: float(epoch),
    ...Object.fromEntries(named),
    [`${prefix}_loss`]: float(loss),
    [`${prefix}_runtime`]: float(seconds),
    [`${prefix}_samples_per_second`]: float(samples / seconds),
    step,
  }
}
