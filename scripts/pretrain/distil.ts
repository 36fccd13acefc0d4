// Teaches the student its teacher's hidden states, on the CPU, with this project's own engine.
//   npm run pretrain            all of it: sources, corpus, student, then this
//   node dist/scripts/pretrain/distil.js [--steps N] [--threads 2] [--resume]
// The teacher reads words in small letters, the student as they are written. Every piece of a word is to be the mean
// of the teacher's pieces of that word, plus a fixed vector for how it is written; [CLS] is to be the mean of the text.
// Words are taken from a layer in the middle, where they still stand for themselves, the text from the last one.

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { MicroBatch } from '../../lib/data/batches.ts'
import { writeFileAtomic } from '../../lib/io/atomic.ts'
import { loadModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { type PackedBatch, pack, upload } from '../../lib/nn/batch.ts'
import { add } from '../../lib/ops/add.ts'
import { cast } from '../../lib/ops/copy.ts'
import { embedding } from '../../lib/ops/embedding.ts'
import { mse } from '../../lib/ops/mse.ts'
import type { AdamW } from '../../lib/optim/adamw.ts'
import { scope, Tensor } from '../../lib/tensor.ts'
import { Stepper } from '../../lib/train/step.ts'
import { type Reading, reader, texts, wordsOf } from './reading.ts'
import { caseOf, caseVectors, HIDDEN, meanLength, STUDENT } from './student.ts'
import { fetchTeacher, TEACHER, teacherVocabulary } from './teacher.ts'
import {
  isOwn,
  loadProgress,
  optimizerOf,
  type Pace,
  type Progress,
  rateOf,
  SAVE_EVERY,
  saveProgress,
  saveWeights,
  speedOf,
  stateFiles,
  teachingOptions,
} from './teaching.ts'
import { readVocabulary } from './wordpiece.ts'

const SEED = 1
const STEPS = 560
/** Texts of a step. */
const BATCH = 48
const PACE: Pace = { peakLr: 1.2e-3, warmupSteps: 50, fall: 0.3 }
/** What an error of [CLS], which a classifier reads, counts beside that of a piece. */
const WHOLE = 15
/** Layers of the teacher below the states that words are taught, of six. */
const WORD_LAYER = 4
const FILES = stateFiles('distil')

/** Mean over the rows [begin, end) of a matrix [N, HIDDEN]. */
function meanOf(rows: Float32Array, begin: number, end: number): Float32Array {
  const sum = new Float32Array(HIDDEN)
  for (let row = begin; row < end; row++) for (let c = 0; c < HIDDEN; c++) sum[c]! += rows[row * HIDDEN + c]!
  return sum.map(x => x / (end - begin))
}

/** Of the teacher's pieces [N, HIDDEN]: what words are taught, and what the text is. */
interface States {
  readonly words: Float32Array
  readonly last: Float32Array
}

/** What the student is to make of a text [its ids, HIDDEN], from the teacher's states of it [its ids, HIDDEN]. */
function target(words: readonly string[], student: Reading, teacher: Reading, of: States): Float32Array {
  const states = of.words
  const length = meanLength(states)
  const written = caseVectors(length)
  const out = new Float32Array(student.ids.length * HIDDEN)
  const whole = meanOf(of.last, 0, teacher.ids.length)
  const norm = Math.hypot(...whole)
  out.set(whole.map(x => (x * length) / norm))
  out.set(states.subarray(states.length - HIDDEN), out.length - HIDDEN)
  const means = words.map((word, w) => {
    const begin = teacher.words.indexOf(w)
    const mean = meanOf(states, begin + 1, teacher.words.lastIndexOf(w) + 2)
    const extra = written[caseOf(word)]
    return mean.map((x, c) => x + extra[c]!)
  })
  for (const [at, word] of student.words.entries()) out.set(means[word]!, (at + 1) * HIDDEN)
  return out
}

/** The teacher's states of sequences. */
async function statesOf(model: Model, ids: readonly Int32Array[]): Promise<States> {
  const [words, last] = scope(() => {
    const seen: Tensor[] = []
    const observe = (hidden: Tensor) => void seen.push(hidden)
    model.backbone.forward(upload(pack(ids), model.device, model.backbone), { observe })
    return [seen[WORD_LAYER]!, seen.at(-1)!] as const
  })
  const data = { words: (await words.data()) as Float32Array, last: (await last.data()) as Float32Array }
  words.dispose()
  last.dispose()
  return data
}

/** A step's texts as a batch of the student, with the target of every piece. */
export async function nextBatch(
  teacher: Model,
  lines: readonly string[],
  read: Record<'student' | 'teacher', ReturnType<typeof reader>>,
) {
  const words = lines.map(wordsOf)
  const student = words.map(read.student)
  const small = words.map(own => read.teacher(own.map(word => word.toLowerCase())))
  const states = await statesOf(
    teacher,
    small.map(({ ids }) => ids),
  )
  let begin = 0
  const parts = words.map((own, i) => {
    const end = begin + small[i]!.ids.length * HIDDEN
    const part = target(own, student[i]!, small[i]!, {
      words: states.words.subarray(begin, end),
      last: states.last.subarray(begin, end),
    })
    begin = end
    return part
  })
  const packed = pack(student.map(({ ids }) => ids))
  const targets = new Float32Array(packed.ids.length * HIDDEN)
  for (const [i, part] of parts.entries()) targets.set(part, packed.cuSeqlens[i]! * HIDDEN)
  return { packed, targets }
}

/** The error of every piece, and once more that of [CLS]: means over the pieces of squared distances, shape [1]. */
export function distance(model: Model, batch: MicroBatch, targets: Float32Array): Tensor {
  const rows = batch.ids.length
  const wanted = Tensor.from(targets, [rows, HIDDEN], { device: model.device })
  const hidden = cast(model.backbone.forward(upload(batch, model.device, model.backbone)), 'f32')
  const first = batch.cuSeqlens.slice(0, -1)
  const index = Tensor.from(first, [first.length], { device: model.device })
  const all = mse(hidden, wanted, 1 / rows)
  return add(all, mse(embedding(hidden, index), embedding(wanted, index), WHOLE / rows))
}

/** Writes what a resumed run reads, and the student as it is. */
async function save(student: Model, optimizer: AdamW, progress: Progress): Promise<void> {
  await saveProgress(optimizer, progress, FILES)
  await saveWeights(student, STUDENT)
  const course = { seed: SEED, batch: BATCH, peakLr: PACE.peakLr, isa: native.info().isa, ...progress }
  await writeFileAtomic(join(STUDENT, 'pretrain.json'), `${JSON.stringify(course, null, 1)}\n`)
}

/** A step's packed texts as the stepper takes them; `begin` is the first one's place. */
export function microBatch(packed: PackedBatch, begin: number): MicroBatch {
  return {
    ...packed,
    typeIds: new Int32Array(packed.ids.length),
    targets: undefined,
    rows: Int32Array.from({ length: packed.cuSeqlens.length - 1 }, (_, i) => begin + i),
    offsets: { row: 0, sequence: 0, selected: 0, decoder: 0 },
  }
}

/** Teaches the student from `progress` on, until so many steps are done. */
async function teach(
  { teacher, student }: Record<'teacher' | 'student', Model>,
  optimizer: AdamW,
  progress: Progress,
  totalSteps: number,
): Promise<void> {
  let targets = new Float32Array()
  const objective = { loss: (model: Model, batch: MicroBatch) => distance(model, batch, targets) }
  const stepper = new Stepper(student, optimizer, { seed: SEED, dropout: false, objective })
  const read = { student: reader(readVocabulary(STUDENT)), teacher: reader(teacherVocabulary()) }
  const lines = texts(SEED)
  let saved = performance.now()
  while (progress.step < totalSteps) {
    const started = performance.now()
    const begin = (progress.step * BATCH) % (lines.length - BATCH)
    const made = await nextBatch(teacher, lines.slice(begin, begin + BATCH), read)
    targets = made.targets
    const step = { microBatches: [microBatch(made.packed, begin)], total: 1 }
    const lr = rateOf(progress.step, totalSteps, PACE)
    const { loss } = await (await stepper.launch(step, progress.step, lr)).numbers
    progress.step++
    progress.tokens += made.packed.ids.length
    progress.seconds += (performance.now() - started) / 1000
    if (progress.step % 10 === 0) report(loss, progress)
    if (performance.now() - saved < SAVE_EVERY) continue
    await save(student, optimizer, progress)
    saved = performance.now()
  }
}

function report(loss: number, progress: Progress): void {
  progress.losses.push([progress.step, Number(loss.toFixed(4))])
  console.log(`step ${progress.step}  loss ${loss.toFixed(4)}  ${speedOf(progress)}`)
}

async function main(): Promise<void> {
  const { resume, steps } = teachingOptions()
  await fetchTeacher()
  const settings = { task: 'sequence-classification', labels: ['0', '1'], compute: 'bf16', seed: SEED } as const
  const models = { teacher: await loadModel(TEACHER, settings), student: await loadModel(STUDENT, settings) }
  const { student } = models
  const optimizer = optimizerOf(student, isOwn)
  const fresh: Progress = { step: 0, seconds: 0, tokens: 0, losses: [] }
  const progress = (resume && loadProgress(optimizer, FILES)) || fresh
  console.log(`${optimizer.arena.size} parameters, ${native.info().isa}, ${native.info().threads} threads`)
  await teach(models, optimizer, progress, Number(steps ?? STEPS))
  await save(student, optimizer, progress)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main()
