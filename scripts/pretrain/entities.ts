// Teaches the distilled student the types of entities, through a head that is thrown away; its teacher's states are
// taught on, beside, so that nothing of them is lost.
//   node dist/scripts/pretrain/entities.js [--steps N] [--threads 2] [--resume]

import { copyFileSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Example, IGNORED } from '../../lib/data/example.ts'
import { writeFileAtomic } from '../../lib/io/atomic.ts'
import { loadModel, type Model } from '../../lib/model.ts'
import { native } from '../../lib/native.ts'
import { pack } from '../../lib/nn/batch.ts'
import type { AdamW } from '../../lib/optim/adamw.ts'
import { Stepper } from '../../lib/train/step.ts'
import { distance, microBatch, nextBatch } from './distil.ts'
import { CLASSES, EntityTexts } from './entityTexts.ts'
import { bertWords } from './pretokenize.ts'
import { type Reading, reader, texts } from './reading.ts'
import { STUDENT, TAUGHT } from './student.ts'
import type { Tagged } from './tagger.ts'
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
import { MAX_LENGTH, readVocabulary } from './wordpiece.ts'

const SEED = 3
const STEPS = 700
/** Texts of a step whose words have classes, and texts of the teacher. */
const TAGGED_BATCH = 72
const DISTIL_BATCH = 16
/** Texts of the order of {@link texts} that the first teaching may have read, and that are passed over. */
const SKIPPED = 30_000
const PACE: Pace = { peakLr: 8e-4, warmupSteps: 20, fall: 0.4 }
/** What the mean cross entropy of a word counts beside the mean squared distance of a piece. */
const CLASS_WEIGHT = 40
const FILES = stateFiles('entities')

/** Progress, and the mean cross entropy of words. */
interface EntityProgress extends Progress {
  classLosses: [step: number, loss: number][]
}

/** A tagged text as the student reads it: the class of a word stands on its first piece. */
function exampleOf({ words, tags }: Tagged, read: (words: readonly string[]) => Reading): Example {
  const parts = words.flatMap((word, w) => bertWords(word).map((text, i) => ({ text, tag: i === 0 ? tags[w]! : '' })))
  const reading = read(parts.map(({ text }) => text))
  const ids = reading.ids.slice(0, MAX_LENGTH)
  const label = new Int32Array(ids.length).fill(IGNORED)
  for (const [at, part] of reading.words.slice(0, MAX_LENGTH - 1).entries()) {
    const isFirst = part !== reading.words[at - 1]
    if (isFirst && parts[part]!.tag !== '') label[at + 1] = CLASSES.indexOf(parts[part]!.tag)
  }
  return { ids, label, truncated: false, row: { values: {}, line: 0 } } as unknown as Example
}

/** Reads texts of both kinds for every step. */
class Batches {
  readonly #teacher: Model
  readonly #student: Model
  readonly #read = { student: reader(readVocabulary(STUDENT)), teacher: reader(teacherVocabulary()) }
  readonly #lines = texts(1).slice(SKIPPED)
  readonly #source = new EntityTexts(SEED)

  constructor(teacher: Model, student: Model) {
    this.#teacher = teacher
    this.#student = student
  }

  /** Texts with the teacher's states. */
  async distilled(step: number) {
    const begin = step * DISTIL_BATCH
    const made = await nextBatch(this.#teacher, this.#lines.slice(begin, begin + DISTIL_BATCH), this.#read)
    return { batch: microBatch(made.packed, begin), targets: made.targets }
  }

  /** Texts with classes. */
  tagged(step: number) {
    this.#source.at(SEED * 100_000 + step)
    const drawn = Array.from({ length: TAGGED_BATCH }, () => this.#source.sample())
    const examples = drawn.map(text => exampleOf(text, this.#read.student))
    const targets = this.#student.head.collate!(examples)!
    return { batch: { ...microBatch(pack(examples.map(({ ids }) => ids)), 0), targets }, targets }
  }
}

/** Teaches the student from `progress` on, until so many steps are done. */
async function teach(
  { teacher, student }: Record<'teacher' | 'student', Model>,
  optimizer: AdamW,
  progress: EntityProgress,
  steps: number,
): Promise<void> {
  const stepper = new Stepper(student, optimizer, { seed: SEED, dropout: false })
  const batches = new Batches(teacher, student)
  let saved = performance.now()
  while (progress.step < steps) {
    const started = performance.now()
    const { step } = progress
    optimizer.arena.zeroGrads()
    const distilled = await batches.distilled(step)
    const states = await stepper.forwardBackward(distilled.batch, 1, step, {
      loss: (model, batch) => distance(model, batch, distilled.targets),
    })
    const tagged = batches.tagged(step)
    const classes = await stepper.forwardBackward(tagged.batch, 1, step, {
      loss: (model, batch) => model.loss(batch, tagged.targets, { total: tagged.targets.weight / CLASS_WEIGHT }),
    })
    await stepper.optimStep(rateOf(step, steps, PACE)).gradNorm
    progress.step++
    progress.tokens += distilled.batch.ids.length + tagged.batch.ids.length
    progress.seconds += (performance.now() - started) / 1000
    if (progress.step % 10 === 0) report(await states.loss, (await classes.loss) / CLASS_WEIGHT, progress)
    if (performance.now() - saved < SAVE_EVERY) continue
    await saveProgress(optimizer, progress, FILES)
    saved = performance.now()
  }
}

function report(states: number, classes: number, progress: EntityProgress): void {
  progress.losses.push([progress.step, Number(states.toFixed(4))])
  progress.classLosses.push([progress.step, Number(classes.toFixed(4))])
  const means = `states ${states.toFixed(2)}  classes ${classes.toFixed(4)}`
  console.log(`step ${progress.step}  ${means}  ${speedOf(progress)}`)
}

/** Writes the taught student, with the course of both teachings. */
async function saveTaught(student: Model, progress: EntityProgress): Promise<void> {
  mkdirSync(TAUGHT, { recursive: true })
  for (const file of ['config.json', 'tokenizer.json', 'tokenizer_config.json'])
    copyFileSync(join(STUDENT, file), join(TAUGHT, file))
  await saveWeights(student, TAUGHT)
  const course = JSON.parse(readFileSync(join(STUDENT, 'pretrain.json'), 'utf8')) as object
  const own = {
    seed: SEED,
    batch: [DISTIL_BATCH, TAGGED_BATCH],
    peakLr: PACE.peakLr,
    isa: native.info().isa,
    ...progress,
  }
  await writeFileAtomic(join(TAUGHT, 'pretrain.json'), `${JSON.stringify({ ...course, entities: own }, null, 1)}\n`)
}

async function main(): Promise<void> {
  const { resume, steps } = teachingOptions()
  await fetchTeacher()
  const settings = { compute: 'bf16', seed: SEED } as const
  const student = await loadModel(STUDENT, { task: 'token-classification', labels: CLASSES, ...settings })
  const teacher = await loadModel(TEACHER, { task: 'sequence-classification', labels: ['0', '1'], ...settings })
  const optimizer = optimizerOf(student, p => isOwn(p) || p.name.startsWith('classifier.'))
  const fresh: EntityProgress = { step: 0, seconds: 0, tokens: 0, losses: [], classLosses: [] }
  const progress = (resume && loadProgress<EntityProgress>(optimizer, FILES)) || fresh
  await teach({ teacher, student }, optimizer, progress, Number(steps ?? STEPS))
  await saveTaught(student, progress)
}

await main()
