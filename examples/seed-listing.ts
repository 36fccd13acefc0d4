// A token classifier trained by hand, in the shape of the PyTorch listing this project grew from: data set class,
// model, LoRA, train_epoch, evaluate, five epochs with dev metrics, a test at the end. Where the listing could not have
// worked, the comment says what it had and why it is otherwise here.
// Run with: node dist/examples/seed-listing.js

import { join } from 'node:path'
import {
  type Adapter,
  attach,
  bundled,
  type Example,
  evaluate as evaluateModel,
  loadModel,
  loadTokenizer,
  lora as loraMethod,
  type Model,
  type Row,
  type Tokenizer,
} from 'lowrank'
import {
  batches,
  collectRows,
  Dataset,
  encodeRows,
  type LabelMap,
  openFile,
  type Step,
  tagLabelsOf,
} from 'lowrank/data'
import { AdamW, Arena } from 'lowrank/optim'
import { Stepper } from 'lowrank/train'
import { packageRoot } from '../lib/io/package.ts'

// class TextDataset(Dataset): __init__, __len__, __getitem__
class TextDataset extends Dataset<Example> {
  readonly rows: readonly Row[]
  readonly tokenizer: Tokenizer
  readonly label2id: LabelMap
  readonly maxLen: number

  constructor(rows: readonly Row[], tokenizer: Tokenizer, label2id: LabelMap, maxLen = 128) {
    super()
    this.rows = rows
    this.tokenizer = tokenizer
    this.label2id = label2id
    this.maxLen = maxLen
  }

  get length(): number {
    return this.rows.length
  }

  // The listing padded to max_length, labelled pads 'O' and gave each word one label whatever its pieces. Here the
  // first piece of a word carries its label, all else -100, and nothing is padded: batches are packed.
  protected get(i: number): Example {
    const { tokenizer, label2id: labels, maxLen: maxLength } = this
    const columns = { tokens: 'tokens', tags: 'tags' }
    const spec = { task: 'token-classification', columns, labels, maxLength }
    return encodeRows([this.rows[i]!], tokenizer, spec).examples.at(0)!
  }
}

// lora = LoRA(model, hidden_size=768, rank=8, regularizer=1e-5); lora.step()
class LoRA {
  readonly attached: Adapter
  readonly optimizer: AdamW
  readonly stepper: Stepper
  readonly lr: number

  // The listing built its optimizer over model.parameters() before LoRA existed, so that all of BERT was trained and
  // the factors never were. Here the base is frozen, the factors are put in, and the optimizer holds them alone.
  constructor(model: Model, options: { hiddenSize?: number; rank?: number; regularizer?: number; lr?: number } = {}) {
    const { hiddenSize = model.backbone.hiddenSize, rank = 8, regularizer = 1e-5, lr = 2e-3 } = options
    if (hiddenSize !== model.backbone.hiddenSize)
      throw new Error(`hiddenSize: ${hiddenSize}, the model has ${model.backbone.hiddenSize}; leave it out`)
    this.attached = attach(model, loraMethod({ r: rank, alpha: 2 * rank, regularizer, targetModules: 'all-linear' }))
    this.optimizer = new AdamW(new Arena(this.attached.trainable, model.device))
    this.stepper = new Stepper(model, this.optimizer, { seed: 42, training: this.attached.training })
    this.lr = lr // the listing's 2e-5 is a rate for full fine-tuning; factors would hardly move
  }

  zeroGrad(): void {
    this.optimizer.arena.zeroGrads()
  }

  // optimizer.step(); lora.step() were two unrelated updates: one is enough.
  step(): void {
    this.stepper.optimStep(this.lr)
  }
}

// def train_epoch(model, data_loader, ...): the listing ran its forward pass under torch.no_grad(), so that
// loss.backward() had nothing to go back through.
async function trainEpoch(loader: Iterable<Step>, lora: LoRA, epoch: number): Promise<number> {
  let [totalLoss, weight] = [0, 0]
  for (const batch of loader) {
    lora.zeroGrad()
    const losses: Promise<number>[] = []
    for (const part of batch.microBatches)
      losses.push((await lora.stepper.forwardBackward(part, batch.total, lora.optimizer.steps)).loss)
    lora.step()
    for (const loss of losses) totalLoss += (await loss) * batch.total
    weight += batch.total
  }
  console.log(`epoch ${epoch}: training loss ${(totalLoss / weight).toFixed(4)}`)
  return totalLoss / weight
}

// def evaluate(...): accuracy_score and precision_score over nested lists raise; entities are what is to be counted.
async function evaluate(model: Model, dataset: TextDataset, name: string): Promise<Record<string, number>> {
  const { metrics } = await evaluateModel(model, dataset, { batchSize: 16 })
  const { accuracy, precision, recall, f1 } = metrics as Record<'accuracy' | 'precision' | 'recall' | 'f1', number>
  const shown = { accuracy, precision, recall, f1 }
  console.log(
    `${name}: ${Object.entries(shown)
      .map(([key, value]) => `${key} ${value.toFixed(3)}`)
      .join(', ')}`,
  )
  return shown
}

const read = (name: string): Promise<Row[]> =>
  collectRows(openFile(join(packageRoot, 'examples', 'data', `people-${name}.conll`)).rows())

const [trainRows, devRows, testRows] = [await read('train'), await read('dev'), await read('test')]
const tokenizer = await loadTokenizer(bundled.encoder)
const label2id = tagLabelsOf([...trainRows, ...devRows, ...testRows], 'tags') // undefined in the listing
const trainDataset = new TextDataset(trainRows, tokenizer, label2id)
const devDataset = new TextDataset(devRows, tokenizer, label2id)
const testDataset = new TextDataset(testRows, tokenizer, label2id)

// BertForTokenClassification with num_labels=2 cannot hold three kinds of entity: 7 tags in IOB2.
const model = await loadModel(bundled.encoder, { task: 'token-classification', labels: label2id.names, device: 'cpu' })
const lora = new LoRA(model, { rank: 8, regularizer: 1e-5 })

await evaluate(model, testDataset, 'test before')
for (let epoch = 0; epoch < 5; epoch++) {
  const loader = batches(trainDataset, {
    batchSize: 8,
    shuffle: true,
    seed: 42,
    epoch,
    collate: model.head.collate,
  })
  await trainEpoch(loader, lora, epoch + 1)
  await evaluate(model, devDataset, 'dev')
}
await evaluate(model, testDataset, 'test')
model.dispose()
