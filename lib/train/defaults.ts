// What a run takes where nothing is said: learning rate by method and width, epochs by the number of steps. The rules
// and the measurements behind them are in docs/defaults.md.

/** Width at which a method's default learning rate holds: bert-base, and what its tables were tuned on. */
const WIDTH = 768

/**
 * A method's rate `lr` for a model of another width. Updates of wide layers add up over more inputs: the rate falls
 * with the width to the power of 1.5, by a factor of at most 4 either way.
 */
export function learningRateFor(lr: number, width: number): number {
  const factor = Math.min(4, Math.max(0.25, (WIDTH / width) ** 1.5))
  return Number((lr * factor).toPrecision(2))
}

/** How far rows lie apart behind a new pooler of this width: the rate of the rest fits a head that reads them. */
const SPREAD = 0.12
const SPREAD_WIDTH = 384

/**
 * The rate of a new head that reads rows of `width` with the standard deviation `spread` about their mean. Adam moves
 * every weight by the rate, however small its gradient is, so logits part by the rate times what rows differ by: where
 * that is less than after a new pooler, whose rows grow apart with the root of the width, the rate is up to four times
 * that of the rest.
 */
export function headRateFor(lr: number, width: number, spread: number): number {
  const usual = SPREAD * Math.sqrt(width / SPREAD_WIDTH)
  return Number((lr * Math.min(4, Math.max(1, usual / spread))).toPrecision(2))
}

/** Optimizer steps that fit most sets, at a width of 192; wider models need fewer. */
const STEPS = 3000
const STEPS_WIDTH = 192
const FEWEST_EPOCHS = 3
const MOST_EPOCHS = 20

/** Passes over the training examples: small sets are seen more often. `share`: of the steps, for the task. */
export function epochsFor(stepsPerEpoch: number, width: number, share = 1): number {
  const steps = share * STEPS * Math.min(1, Math.sqrt(STEPS_WIDTH / width))
  return Math.min(MOST_EPOCHS, Math.max(FEWEST_EPOCHS, Math.round(steps / Math.max(1, stepsPerEpoch))))
}

/** Of a validation split of so many examples, whose scores have a standard error of at most 0.016. */
const PATIENCE = 5
const PATIENCE_EXAMPLES = 1000

/**
 * Validations without a better one that end a run whose epochs nobody asked for. Few examples make noisy scores: the
 * patience grows with their standard error, which falls with the root of their number.
 */
export function patienceFor(validationExamples: number): number {
  return Math.ceil(PATIENCE * Math.max(1, Math.sqrt(PATIENCE_EXAMPLES / Math.max(1, validationExamples))))
}
