import { check } from '../errors.ts'
import { checkOptions } from '../options.ts'

/** Language-model scores of a text. */
export type PerplexityReport = {
  tokens: number
  /** Mean negative log likelihood of a token, nats. */
  loss: number
  /** exp(loss); Infinity where that overflows. */
  perplexity: number
  bitsPerToken: number
  /** Only where the number of bytes is given. */
  bitsPerByte?: number
  /** Share of tokens whose most likely prediction is right; only where counted. */
  accuracy?: number
}

/** What one batch adds: summed negative log likelihood in nats, number of scored tokens, and hits if counted. */
export type TokenLoss = { sum: number; tokens: number; correct?: number }

/**
 * Perplexity over batches, each token weighted equally (a mean of batch means would not do that).
 * Throws ERR_DATA when no token was scored.
 */
export function perplexityReport(batches: Iterable<TokenLoss>, options: { bytes?: number } = {}): PerplexityReport {
  checkOptions('perplexityReport', options, { bytes: true })
  let sum = 0
  let tokens = 0
  let correct: number | undefined = 0
  for (const batch of batches) {
    sum += batch.sum
    tokens += batch.tokens
    correct = batch.correct === undefined || correct === undefined ? undefined : correct + batch.correct
  }
  check(tokens > 0, 'ERR_DATA', () => `perplexity: ${tokens} scored tokens; every label is masked or the text is empty`)
  const loss = sum / tokens
  return {
    tokens,
    loss,
    perplexity: Math.exp(loss),
    bitsPerToken: loss / Math.LN2,
    ...(options.bytes === undefined ? {} : { bitsPerByte: sum / Math.LN2 / options.bytes }),
    ...(correct === undefined ? {} : { accuracy: correct / tokens }),
  }
}
