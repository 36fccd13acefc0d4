import { test } from 'uvu'
import * as assert from 'uvu/assert'
import type { LowrankError } from '../../lib/errors.ts'
import { createModel } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { type InputLimits, type InputRules, maxTokens, type PackedBatch, upload } from '../../lib/nn/batch.ts'
import { Device, scope, type Tensor } from '../../lib/tensor.ts'

const cpu = Device.get('cpu')
const limits: InputLimits = { vocabSize: 10, typeVocabSize: 2, maxPositions: 4 }

function packed(sequences: number[][], more: Partial<PackedBatch> = {}): PackedBatch {
  const starts = [0]
  for (const s of sequences) starts.push(starts.at(-1)! + s.length)
  return {
    ids: Int32Array.from(sequences.flat()),
    cuSeqlens: Int32Array.from(starts),
    maxLength: Math.max(0, ...sequences.map(s => s.length)),
    ...more,
  }
}

function refused(batch: PackedBatch, message: RegExp, of: InputRules = { limits }): void {
  const before = native.live()
  assert.throws(
    () => scope(() => upload(batch, cpu, of)),
    (e: LowrankError) => e.code === 'ERR_DATA' && message.test(e.message),
  )
  assert.is(native.live(), before)
}

async function tensors(batch: PackedBatch, of: InputRules = { limits }): Promise<Record<string, number[]>> {
  const on = scope(() => upload(batch, cpu, of))
  const result: Record<string, number[]> = {}
  for (const [name, tensor] of Object.entries(on).filter(([, v]) => typeof v === 'object') as [string, Tensor][]) {
    result[name] = [...(await tensor.data())]
    tensor.dispose()
  }
  return result
}

test('a batch arrives as it is', async () => {
  assert.equal(await tensors(packed([[1, 2, 3], [9], [4, 5, 6, 7]])), {
    ids: [1, 2, 3, 9, 4, 5, 6, 7],
    positions: [0, 1, 2, 0, 0, 1, 2, 3],
    typeIds: [0, 0, 0, 0, 0, 0, 0, 0],
    cuSeqlens: [0, 3, 4, 8],
  })
})

test('a single token is a sequence', async () => {
  assert.equal((await tensors(packed([[0]]))).cuSeqlens, [0, 1])
})

test('RoBERTa counts on from its padding id, which stays where it is', async () => {
  const shape = { hidden_size: 4, num_attention_heads: 1, num_hidden_layers: 1, intermediate_size: 4 }
  const values = { ...shape, vocab_size: 10, max_position_embeddings: 6, pad_token_id: 1, type_vocab_size: 1 }
  const config = { path: 'config.json', modelType: 'roberta', values }
  const model = createModel(config, { task: 'masked-lm' })
  const roberta = model.backbone
  assert.equal(
    (
      await tensors(
        packed([
          [0, 5, 2],
          [3, 1, 4],
          [1, 1],
        ]),
        roberta,
      )
    ).positions,
    [2, 3, 4, 2, 1, 3, 1, 1],
  )
  assert.is(maxTokens(roberta.limits), 4)
  await tensors(packed([[0, 5, 5, 2]]), roberta)
  refused(packed([[0, 5, 5, 5, 2]]), /a sequence of 5 tokens, the model takes 4; lower maxLength/, roberta)
  model.dispose()
})

test('ids that the model does not know are refused', () => {
  refused(packed([[1, 10]]), /token id 10 is outside 0 to 9; the tokenizer does not belong to this model/)
  refused(packed([[-1]]), /token id -1 is outside/)
  refused(packed([[1, 2]], { typeIds: Int32Array.of(0, 2) }), /type id 2 is outside 0 to 1/)
  refused(packed([[1, 2]], { positions: Int32Array.of(0, 4) }), /position 4 is outside 0 to 3/)
})

test('a model without segments takes none', async () => {
  const none = { limits: { ...limits, typeVocabSize: 0 } }
  assert.equal((await tensors(packed([[1, 2]], { typeIds: Int32Array.of(0, 7) }), none)).ids, [1, 2])
})

test('empty batches and sequences are refused, and those that are too long', () => {
  refused(packed([]), /it has no sequence/)
  refused(packed([[]]), /it has no sequence/)
  refused(packed([[1], [], [2]]), /sequence 1 has 0 tokens/)
  refused(packed([[1, 2, 3, 4, 5]]), /a sequence of 5 tokens, the model takes 4/)
  refused(packed([[1, 2, 3]], { maxLength: 2 }), /maxLength 2, expected 3 \(its longest sequence\) to 4/)
  refused(packed([[1, 2, 3]], { maxLength: Number.NaN }), /maxLength NaN/)
})

test('parts that do not belong together are refused', () => {
  refused(packed([[1, 2]], { cuSeqlens: Int32Array.of(0, 3) }), /cuSeqlens goes from 0 to 3, expected 0 to 2 tokens/)
  refused(packed([[1, 2]], { cuSeqlens: Int32Array.of(1, 2) }), /from 1 to 2/)
  refused(packed([[1, 2, 3]], { cuSeqlens: Int32Array.of(0, 2, 1, 3) }), /sequence 1 has -1 tokens/)
  refused(packed([[1, 2]], { positions: Int32Array.of(0) }), /1 positions for 2 tokens/)
  refused(packed([[1, 2]], { typeIds: Int32Array.of(0) }), /1 type ids for 2 tokens/)
})

test.run()
