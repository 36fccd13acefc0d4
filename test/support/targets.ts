import type { Example } from '../../lib/data/example.ts'
import type { Targets } from '../../lib/data/targets.ts'
import type { TaskName } from '../../lib/heads/index.ts'
import type { Model } from '../../lib/model.ts'
import type { PackedBatch } from '../../lib/nn/batch.ts'

/** Tasks by the word that golden cases and drawn models have for them. */
export const TASKS_BY_WORD: Readonly<Record<string, TaskName>> = {
  seq: 'sequence-classification',
  tok: 'token-classification',
  mlm: 'masked-lm',
  qa: 'question-answering',
  lm: 'causal-lm',
  s2s: 'seq2seq-lm',
}

/**
 * Targets of a packed batch from labels that are packed like it: a class or numbers a sequence, or an id a token. Of an
 * encoder-decoder they are what the batch is to say.
 */
export function targetsOf({ head }: Model, batch: PackedBatch, labels: Int32Array | Float32Array): Targets {
  const { ids, cuSeqlens, decoder } = batch
  const sequences = cuSeqlens.length - 1
  const width = labels.length / sequences
  const labelOf = (i: number, from: number, to: number): Example['label'] => {
    if (head.task === 'question-answering') return labels.slice(2 * i, 2 * i + 2)
    if (head.task !== 'sequence-classification') return labels.slice(from, to)
    return head.problem === 'single' ? labels[i]! : labels.slice(i * width, (i + 1) * width)
  }
  const examples = Array.from({ length: sequences }, (_, i): Example => {
    const [from, to] = [cuSeqlens[i]!, cuSeqlens[i + 1]!]
    const row = { values: {}, file: 'batch', line: i }
    const target = decoder?.ids.slice(decoder.cuSeqlens[i], decoder.cuSeqlens[i + 1])
    if (target) return { ids: ids.slice(from, to), target, truncated: false, row }
    return { ids: ids.slice(from, to), label: labelOf(i, from, to), truncated: false, row }
  })
  return head.collate(examples)!
}
