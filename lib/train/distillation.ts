// Knowledge distillation (Hinton et al. 2015): a model learns what a larger one says of the same tokens, not the label
// alone.

import { type MicroBatch, targetsIn } from '../data/batches.ts'
import { uploadTargets } from '../data/targets.ts'
import { check, fail } from '../errors.ts'
import { headOf } from '../heads/index.ts'
import { lossInPieces } from '../heads/pieces.ts'
import type { Model } from '../model.ts'
import { maxTokens } from '../nn/batch.ts'
import { splitColumns } from '../nn/columns.ts'
import { withNoise } from '../nn/noise.ts'
import { add } from '../ops/add.ts'
import { divergence } from '../ops/crossEntropy.ts'
import { embedding } from '../ops/embedding.ts'
import { withoutRandom } from '../ops/random.ts'
import { scale } from '../ops/scale.ts'
import { checkOptions } from '../options.ts'
import { Tensor } from '../tensor.ts'
import type { Objective, SupervisedOptions } from './step.ts'

/** How {@link distilled} weighs what is learned. */
export interface DistillationOptions extends Omit<SupervisedOptions, 'classWeights'> {
  /** The larger model: of the same task on the same device, with the same tokens, and labels in any order. */
  readonly teacher: Model
  /** Share of the loss that is the teacher's, 0 to 1; the labels have the rest. Default {@link TEACHER_WEIGHT}. */
  readonly weight?: number | undefined
  /** Both sides' logits are divided by it: above 1, unlikely classes count more. Default {@link TEMPERATURE}. */
  readonly temperature?: number | undefined
  /** Rows whose logits exist at a time. Default: as many as 64 MB hold, of each side. */
  readonly chunk?: number | undefined
}

/** Share of the loss that is the teacher's, unless told otherwise. */
export const TEACHER_WEIGHT = 0.5

/** What logits of both sides are divided by, unless told otherwise. */
export const TEMPERATURE = 2

/** Bytes of logits that exist at a time, of each side. */
const CHUNK_BYTES = 64 * 2 ** 20

/**
 * (1 − w) · the loss of the labels + w · T² · KL(teacher ‖ student) of logits divided by T, both a mean over what is
 * supervised. The teacher runs without dropout and is never changed. Where a vocabulary is long, logits are made in
 * pieces, and again in backward.
 * @throws ERR_OPTION, ERR_UNSUPPORTED at the first loss for a teacher that does not fit;
 * ERR_DATA without labels, which say what rows count
 */
export function distilled(options: DistillationOptions): Objective {
  checkOptions('distilled', options, {
    teacher: true,
    weight: true,
    temperature: true,
    chunk: true,
    labelSmoothing: true,
    neftune: true,
    checkpoint: true,
  })
  const { teacher, weight = TEACHER_WEIGHT, temperature = TEMPERATURE, chunk, ...given } = options
  const { neftune = 0, checkpoint, ...others } = given
  let known: Model | undefined
  return {
    loss(model, batch, total) {
      if (known !== model) checkTeacher(model, teacher)
      known = model
      const targets = targetsIn(batch)
      const theirs = weight === 0 ? undefined : hiddenOf(teacher, batch)
      const loss = (hidden: Tensor) => {
        const labels = uploadTargets(targets, hidden.rows, model.head.outputs, model.device)
        const hard = () => model.head.loss(hidden, labels, { ...others, total: total / (1 - weight) }, batch, targets)
        if (!theirs) return hard()
        const scale = (weight * temperature ** 2) / total
        const soft = softLoss({ model, teacher, hidden, theirs, labels, temperature, scale, chunk })
        return weight === 1 ? soft : add(hard(), soft)
      }
      const { wordEmbeddings } = model.backbone
      return withNoise(wordEmbeddings, neftune, batch.cuSeqlens, () =>
        model.onRows(batch, targets, loss, { checkpoint }),
      )
    },
  }
}

/** Rows of the teacher that its head reads. */
function hiddenOf(teacher: Model, batch: MicroBatch): Tensor {
  const most = maxTokens(teacher.backbone.limits)
  check(batch.maxLength <= most, 'ERR_OPTION', () => {
    return `teacher: it has positions for ${most} tokens, a sequence has ${batch.maxLength}; lower maxLength to ${most}`
  })
  return withoutRandom(() => teacher.onRows(batch, batch.targets, hidden => hidden))
}

interface Pair {
  readonly model: Model
  readonly teacher: Model
  /** Rows that the heads read, [N, D] each. */
  readonly hidden: Tensor
  readonly theirs: Tensor
  /** i32[N] */
  readonly labels: Tensor
  readonly temperature: number
  readonly scale: number
  readonly chunk: number | undefined
}

/** The sum over rows of how far the student is from the teacher, times `scale`. */
function softLoss({ model, teacher, hidden, theirs, labels, temperature, scale: by, chunk }: Pair): Tensor {
  const { outputs } = model.head
  const bytes = chunk === undefined ? CHUNK_BYTES : 4 * outputs * chunk
  return lossInPieces(
    hidden,
    [theirs, labels],
    outputs,
    (rows, [teachers, ids]) => {
      const logits = model.head.logits(rows)
      const taught = withoutRandom(() => teacher.head.logits(teachers))
      const given = asStudent(taught, model, teacher)
      const width = Math.min(logits.columns, given.columns)
      const soft = (x: Tensor) => scale(firstColumns(x, width), 1 / temperature)
      return divergence(soft(logits), soft(given), ids, by)
    },
    bytes,
  )
}

/** Without what pads a vocabulary at its end. */
function firstColumns(x: Tensor, width: number): Tensor {
  return x.columns === width ? x : splitColumns(x, [width, x.columns - width])[0]
}

/** A teacher's logits of labels, in the student's order of these. */
function asStudent(logits: Tensor, { labels }: Model, { labels: given }: Model): Tensor {
  if (labels.every((label, i) => label === given[i])) return logits
  const { rows, columns } = logits
  const order = labels.map(label => given.indexOf(label))
  const index = Int32Array.from({ length: rows * columns }, (_, i) => {
    return Math.floor(i / columns) * columns + (order[i % columns] ?? 0)
  })
  const picked = embedding(
    logits.view(0, [rows * columns, 1]),
    Tensor.from(index, [index.length], { device: logits.device }),
    logits.dtype,
  )
  return picked.view(0, [rows, columns])
}

/**
 * Whether a model can learn from a teacher.
 * @throws ERR_UNSUPPORTED for a task whose rows are no choice of one; ERR_OPTION for a teacher of another task, device,
 * vocabulary or other labels, or whose head is untrained
 */
export function checkTeacher({ head, labels, device, backbone }: Model, teacher: Model): void {
  const { isLabelled } = headOf(head.task)
  const isChoice = head.problem === 'single' && !head.judge && (isLabelled || head.likeliest)
  check(isChoice, 'ERR_UNSUPPORTED', () => {
    return `teacher: rows of ${head.task} are no choice of one class or token, which is what can be taught; leave it out`
  })
  const differs = (what: string, theirs: string, ours: string) =>
    fail('ERR_OPTION', `teacher: its ${what} ${theirs}, the model's ${ours}; name a teacher that fits`)
  if (teacher.task !== head.task) differs('task is', teacher.task, head.task)
  if (teacher.device !== device) differs('device is', teacher.device.name, device.name)
  const isNew = isLabelled && teacher.newTensors.length > 0 && teacher.adapters.size === 0
  check(!isNew, 'ERR_OPTION', () => {
    return `teacher: it lacks ${teacher.newTensors[0]}, so its head is not trained; name a model that was fine-tuned`
  })
  const [ours, theirs] = [labels, teacher.labels].map(names => [...names].sort().join(', '))
  if (ours !== theirs) differs('labels are', theirs ?? '', ours ?? '')
  const [mine, other] = [backbone.limits.vocabSize, teacher.backbone.limits.vocabSize]
  // Rows are padded to a round number, differently by size of model.
  check(Math.abs(mine - other) < Math.max(1, mine / 100), 'ERR_OPTION', () => {
    return `teacher: it embeds ${other} tokens, the model ${mine}; the tokens of both have to be the same`
  })
}
