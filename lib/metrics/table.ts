// Every metric of every task: its name for people, its unit, its direction, and the chart it is drawn in.

/** What a metric is. */
export interface Metric {
  /** Key of an evaluation's metrics. */
  readonly name: string
  /** For people. */
  readonly title: string
  /** `share`: in [0, 1], shown in percent; `number`: in a unit of its own, or none. */
  readonly unit: 'share' | 'number'
  readonly better: 'higher' | 'lower'
  /** Metrics of one chart share an axis; one without a chart is not shown by epoch. */
  readonly chart?: string
  /** Whether the table of results shows it. */
  readonly shown: boolean
}

type More = Partial<Pick<Metric, 'better' | 'chart' | 'shown'>>

const share = (name: string, title: string, more: More = {}): Metric => {
  return { name, title, unit: 'share', better: 'higher', shown: true, ...more }
}
const number = (name: string, title: string, more: More = {}): Metric => {
  return { name, title, unit: 'number', better: 'higher', shown: true, ...more }
}

/** The same scores averaged in another way: told in metrics.json, not in the table of results. */
function averaged(prefix: string, how: string, shown: readonly string[] = []): Metric[] {
  return ['Precision', 'Recall', 'F1'].map(score => {
    const title = `${score === 'F1' ? score : score.toLowerCase()}${how}`
    return share(`${prefix}${score}`, title, { shown: shown.includes(score) })
  })
}

/** All metrics, most telling first. */
export const METRICS: readonly Metric[] = [
  share('rewardAccuracy', 'preferred answers', { chart: 'scores' }),
  number('margin', 'reward margin', { chart: 'margin' }),
  number('chosenReward', 'reward, chosen'),
  number('rejectedReward', 'reward, rejected', { better: 'lower' }),
  number('chosenLogProb', 'log-probability, chosen'),
  number('rejectedLogProb', 'log-probability, rejected', { better: 'lower' }),
  share('exactMatch', 'exact match', { chart: 'scores' }),
  share('accuracy', 'accuracy', { chart: 'scores' }),
  share('precision', 'precision', { chart: 'scores' }),
  share('recall', 'recall', { chart: 'scores' }),
  share('f1', 'F1', { chart: 'scores' }),
  share('hasAnswerF1', 'F1 where there is an answer'),
  share('noAnswerF1', 'F1 where there is none'),
  ...averaged('binary', ' of the positive class', ['F1']),
  share('accuracyWithoutO', 'accuracy without O'),
  ...averaged('strict', ', strict', ['F1']),
  ...averaged('micro', ' (micro)'),
  ...averaged('macro', ' (macro)'),
  ...averaged('weighted', ' (weighted)'),
  ...averaged('samples', ' (by example)'),
  share('hammingLoss', 'Hamming loss', { better: 'lower' }),
  number('matthews', 'Matthews', { shown: false }),
  number('mse', 'MSE', { better: 'lower', shown: false }),
  number('rmse', 'RMSE', { better: 'lower', chart: 'error' }),
  number('mae', 'MAE', { better: 'lower' }),
  number('r2', 'R²'),
  number('pearson', 'Pearson', { chart: 'correlation' }),
  number('spearman', 'Spearman'),
  share('rougeL', 'ROUGE-L'),
  share('rouge1', 'ROUGE-1', { shown: false }),
  share('rouge2', 'ROUGE-2', { shown: false }),
  share('bleu', 'BLEU'),
  share('chrf', 'chrF'),
  number('perplexity', 'perplexity', { better: 'lower', chart: 'perplexity' }),
  number('bitsPerToken', 'bits per token', { better: 'lower', shown: false }),
  number('loss', 'loss', { better: 'lower', chart: 'loss' }),
]

const byName = new Map(METRICS.map(metric => [metric.name, metric]))

/** A metric by name; one that the table lacks is a number, the more the better. */
export function metricOf(name: string): Metric {
  return byName.get(name) ?? number(name, name)
}

/** Whether more of a metric is better. */
export function higherIsBetter(name: string): boolean {
  return metricOf(name).better === 'higher'
}
