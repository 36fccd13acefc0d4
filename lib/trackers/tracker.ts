/** What a run is, as its trackers record it. */
export type RunDescription = {
  /** Settings by name; shown as hyper-parameters. */
  hyperparameters: Readonly<Record<string, string | number | boolean>>
  /** Scalar names that judge the run, e.g. `eval/accuracy`. */
  metrics?: readonly string[]
  /** First step that will be written; greater than 0 when a run is resumed. */
  firstStep?: number
}

/** How a run ended. */
export type RunStatus = 'finished' | 'stopped' | 'failed'

/**
 * Receives what a run measures. A call may return a promise, which the training loop awaits; a call that returns
 * normally has handed its record to the operating system.
 */
export interface Tracker {
  start(run: RunDescription): void | Promise<void>
  /** One value per name at an optimizer step (0 is before the first). */
  scalars(step: number, record: Readonly<Record<string, number>>): void | Promise<void>
  histogram?(step: number, name: string, values: ArrayLike<number>): void | Promise<void>
  /** Markdown. */
  text?(step: number, name: string, text: string): void | Promise<void>
  finish(status?: RunStatus): void | Promise<void>
}
