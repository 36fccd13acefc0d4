// One pass over a frozen base for micro-batches of several adapters: each row goes through its own.

import { beginsOf, concatRows, rowViews } from '../autograd/rows.ts'
import type { MicroBatch } from '../data/batches.ts'
import { type Targets, uploadTargets } from '../data/targets.ts'
import { answersOf, type DeviceAnswers } from '../heads/head.ts'
import type { Model } from '../model.ts'
import { type Batch, joinedBatches, type PackedBatch, upload } from '../nn/batch.ts'
import { throughAdapter, withRoutes } from '../nn/routes.ts'
import type { SharedLayers } from '../nn/stack.ts'
import { embedding } from '../ops/embedding.ts'
import { MOST_PARTS } from '../ops/linearCrossEntropy.ts'
import { countingSelected, type RandomPart, type StepRandom, withRandom, withRandomParts } from '../ops/random.ts'
import { Tensor } from '../tensor.ts'
import { must, nth } from '../tuple.ts'
import type { SupervisedOptions } from './step.ts'

/** A micro-batch of an adapter. */
export interface JointPart {
  /** Its name. */
  readonly adapter: string
  readonly batch: MicroBatch
  readonly targets: Targets | undefined
  /** Keys its dropout; undefined: there is none. Of all parts, or of none. */
  readonly random: StepRandom | undefined
}

/** A part with what its loss is. */
export interface LossPart extends JointPart {
  readonly targets: Targets
  readonly total: number
  readonly options: Omit<SupervisedOptions, 'neftune'>
}

/** Layers from the first on that no adapter of the parts touches; -1: not even the embeddings. */
type UntouchedLayers = number

/** The loss of each part, shape [1], each recorded on the tape. */
export function jointLosses(model: Model, parts: readonly LossPart[], untouched: UntouchedLayers): Tensor[] {
  const checkpoint = parts.some(({ options }) => options.checkpoint)
  const hidden = hiddenOfParts(model, parts, { untouched, checkpoint })
  return (
    lossesTogether(model, hidden) ?? hidden.map(({ part, rows, within }) => within(() => lossOf(model, rows, part)))
  )
}

function lossOf({ head, device }: Model, hidden: Tensor, { batch, targets, total, options }: LossPart): Tensor {
  const { classWeights, labelSmoothing } = options
  const uploaded = uploadTargets(targets, hidden.rows, head.outputs, device)
  return head.loss(hidden, uploaded, { total, classWeights, labelSmoothing }, batch, targets)
}

/** The same of all parts at once, where one frozen output layer serves them; undefined where it doesn't. */
function lossesTogether({ head, device }: Model, hidden: readonly HiddenPart<LossPart>[]): Tensor[] | undefined {
  const [first] = hidden
  const labelSmoothing = first?.part.options.labelSmoothing
  const isAlike = hidden.every(({ part }) => part.options.labelSmoothing === labelSmoothing)
  if (!head.together || !isAlike || hidden.length < 2 || hidden.length > MOST_PARTS) return undefined
  const ready: Tensor[] = []
  const ids: number[] = []
  for (const { part, rows, within } of hidden) {
    const own = within(() => head.together?.rows(rows))
    if (!own || part.targets.values.length !== own.rows) return undefined
    ready.push(own)
    for (const id of part.targets.values) ids.push(id)
  }
  const values = Int32Array.from(ids)
  const uploaded = uploadTargets({ values, width: 1 }, values.length, head.outputs, device)
  const cuts = hidden.map(({ part, rows }) => ({ rows: rows.rows, scale: 1 / part.total }))
  return head.together.losses(concatRows(ready), uploaded, cuts, { labelSmoothing })
}

/** What the model says of each part; inside a scope, unrecorded. */
export function jointAnswers(model: Model, parts: readonly JointPart[], untouched: UntouchedLayers): DeviceAnswers[] {
  const { head, device } = model
  return onHidden(model, parts, { untouched, checkpoint: false }, (hidden, { batch, targets }) => {
    const uploaded = targets && uploadTargets(targets, hidden.rows, head.outputs, device)
    return answersOf(head, hidden, batch, targets, uploaded)
  })
}

interface PassOptions {
  readonly untouched: UntouchedLayers
  readonly checkpoint: boolean
}

/** Runs the backbone for all parts at once, then `body` for each on the rows of it that the head reads. */
function onHidden<P extends JointPart, T>(
  model: Model,
  parts: readonly P[],
  { untouched, checkpoint }: PassOptions,
  body: (hidden: Tensor, part: P) => T,
): T[] {
  const hidden = hiddenOfParts(model, parts, { untouched, checkpoint })
  return hidden.map(({ part, rows, within }) => within(() => body(rows, part)))
}

/** A part with the rows of its last hidden state that the head reads. */
interface HiddenPart<P> {
  readonly part: P
  readonly rows: Tensor
  /** Runs what reads these rows through the part's adapter, with its masks. */
  within<T>(body: () => T): T
}

function hiddenOfParts<P extends JointPart>(model: Model, parts: readonly P[], options: PassOptions): HiddenPart<P>[] {
  return rowsOfParts(model, parts, hiddenOf(model, parts, options)).map(({ rows, isSelected }, i) => {
    const part = nth(parts, i)
    return {
      part,
      rows,
      within: body => {
        const run = () => throughAdapter(part.adapter, isSelected ? () => countingSelected(body) : body)
        return part.random ? withRandom(part.random, run) : run()
      },
    }
  })
}

function hiddenOf(model: Model, parts: readonly JointPart[], { untouched, checkpoint }: PassOptions): Tensor {
  const { backbone, device } = model
  const batch = upload(joinedBatches(parts.map(part => part.batch)), device, backbone)
  const shared = untouched < 0 ? undefined : sharedOf(model, parts, untouched)
  const forward = () => backbone.forward(batch, { checkpoint, shared })
  const [only] = parts
  if (parts.length === 1 && only) return inParts(model, parts, () => throughAdapter(only.adapter, forward))
  const routes = parts.map(({ adapter, batch }) => ({ adapter, rows: batch.ids.length }))
  return inParts(model, parts, () => withRoutes(routes, forward))
}

/** Runs `body` with the masks of each part for its rows. */
function inParts<T>({ device }: Model, parts: readonly JointPart[], body: () => T): T {
  const drawn = parts.flatMap(({ batch, random }): RandomPart[] => {
    if (!random) return []
    const { cuSeqlens, maxLength, ids } = batch
    return [{ rows: ids.length, random, maxLength, cuSeqlens: Tensor.from(cuSeqlens, [cuSeqlens.length], { device }) }]
  })
  return drawn.length > 0 ? withRandomParts(drawn, body) : body()
}

/** What the layers below the first adapter need to run once for parts that are the same; undefined where none are. */
function sharedOf(model: Model, parts: readonly JointPart[], layers: number): SharedLayers | undefined {
  const firsts: JointPart[] = []
  const kinds = parts.map(part => {
    const known = firsts.findIndex(first => isSame(first, part))
    return known < 0 ? firsts.push(part) - 1 : known
  })
  if (firsts.length === parts.length) return undefined
  const begins = beginsOf(firsts.map(({ batch }) => batch.ids.length))
  const rows = kinds.flatMap((kind, i) => {
    return Array.from(nth(parts, i).batch.ids, (_, t) => nth(begins, kind) + t)
  })
  const { device, backbone } = model
  const batch: Batch = upload(joinedBatches(firsts.map(first => first.batch)), device, backbone)
  return {
    batch,
    layers,
    rows: Tensor.from(Int32Array.from(rows), [rows.length], { device }),
    alone: body => inParts(model, firsts, () => throughAdapter(null, body)),
  }
}

/** Whether two parts read the same tokens under the same masks. */
function isSame(a: JointPart, b: JointPart): boolean {
  return JSON.stringify(a.random) === JSON.stringify(b.random) && sameTokens(a.batch, b.batch)
}

const sameTokens = (a: PackedBatch, b: PackedBatch) =>
  equal(a.ids, b.ids) &&
  equal(a.cuSeqlens, b.cuSeqlens) &&
  equal(must(a.typeIds, 'typeIds'), must(b.typeIds, 'typeIds'))

const equal = (a: Int32Array, b: Int32Array) => a.length === b.length && a.every((value, i) => value === b[i])

/** Of each part the rows that the head reads. */
function rowsOfParts({ head, device }: Model, parts: readonly JointPart[], hidden: Tensor) {
  let begin = 0
  const read = parts.map(({ batch, targets }) => {
    const from = begin
    begin += batch.ids.length
    return head.rows(batch, targets)?.map(row => from + row)
  })
  const isSelected = read.every(rows => rows !== undefined)
  const index = Int32Array.from(isSelected ? read.flatMap(rows => [...must(rows, 'rows')]) : [])
  const all = isSelected ? embedding(hidden, Tensor.from(index, [index.length], { device }), hidden.dtype) : hidden
  const heights = parts.map(({ batch }, i) => (isSelected ? must(read[i], 'rows').length : batch.ids.length))
  const cut = parts.length === 1 ? [all] : rowViews(all, heights)
  return cut.map(rows => ({ rows, isSelected }))
}
