import { check, fail } from '../errors.ts'
import { native } from '../native.ts'
import { copyInto, copyOf, onView, type Synchronous, scope, scopes, Tensor, tensorsIn } from '../tensor.ts'
import { type Each, mapTuple, must, nth } from '../tuple.ts'

/**
 * Gradients of the inputs, in order; undefined where `needs` is false. A rule may return `dy` itself (pass-through),
 * and may overwrite it only through {@link take}.
 */
export type Backward = (dy: Tensor, needs: readonly boolean[]) => (Tensor | undefined)[]

/** The same for an op with several outputs: undefined for an output that nothing was made of. */
export type GroupBackward = (dys: readonly (Tensor | undefined)[], needs: readonly boolean[]) => (Tensor | undefined)[]

interface Node {
  outputs: readonly Tensor[]
  inputs: readonly Tensor[]
  backward: GroupBackward
  /** Saved tensors that no earlier node saved: this node reads them last. */
  lastReads: Tensor[]
}

let recording: Tape | undefined
let replaying: Tape | undefined

/** Whether a tape runs and `inputs` depend on something that trains: only then need an op save anything. */
export function recordingFor(inputs: readonly (Tensor | undefined)[]): boolean {
  return recording !== undefined && inputs.some(input => input?.requiresGrad)
}

/**
 * Records `output = f(inputs)` if a tape runs and an input requires a gradient. `saved` is what `backward` reads; the
 * tape keeps those alive. A no-op where no input requires a gradient.
 */
export function record(
  output: Tensor,
  inputs: readonly Tensor[],
  saved: readonly Tensor[],
  backward: Backward,
): Tensor {
  if (recordingFor(inputs)) recordGroup([output], inputs, saved, ([dy], needs) => backward(must(dy, 'dy'), needs))
  return output
}

/** {@link record} for an op with several outputs. Its rule runs once, if any of them has a gradient. */
export function recordGroup<const O extends readonly Tensor[]>(
  outputs: O,
  inputs: readonly Tensor[],
  saved: readonly Tensor[],
  backward: GroupBackward,
): Each<O, Tensor> {
  if (recording && recordingFor(inputs)) {
    for (const output of outputs) output.requiresGrad = true
    recording.push(outputs, inputs, saved, backward)
  }
  return mapTuple(outputs, output => output)
}

/** Runs `body` as if no tape ran: what it gives is constant, and nothing of it is kept. */
export function unrecorded<T>(body: () => T): T {
  const outer = recording
  recording = undefined
  try {
    return body()
  } finally {
    recording = outer
  }
}

/** The tape that runs. */
export function runningTape(): Tape | undefined {
  return recording
}

onView((view, base, offset) => {
  const { shape, device, dtype, size } = base
  record(view, [base], [], dy => {
    if (base.grad) {
      replaying?.addAll()
      native.accumulate(base.grad.view(offset, dy.shape).handle, dy.handle, 1)
      return [undefined]
    }
    if (dy.size === size) return [take(dy).view(0, shape)]
    const whole = Tensor.zeros(shape, { device, dtype })
    copyInto(whole.view(offset, dy.shape), dy)
    return [whole]
  })
})

/** A tensor with dy's values that the rule may overwrite: dy itself where nobody else holds it, else a copy. */
export function take(dy: Tensor): Tensor {
  return replaying?.isUnique(dy) ? dy : copyOf(dy)
}

/**
 * Inside a rule: the gradient that `tensor`, one of the rule's inputs, has so far. It is the rule's to read, and is
 * counted in what the rule returns for that input. Undefined where there is none.
 */
export function claim(tensor: Tensor): Tensor | undefined {
  return replaying?.claim(tensor)
}

/** Inside a rule: whether no rule that is still to come gives `tensor`, one of its inputs, a gradient. */
export function readsLast(tensor: Tensor): boolean {
  return replaying?.readsLast(tensor) ?? false
}

/**
 * Work of a rule that a later rule may do beside its own, with fewer launches of a GPU: gradients of leaves, made of
 * what the rule leaves. Before anybody can read them it has run.
 */
export interface Postponed {
  /** What it reads; tensors that the tape would free are kept, and those that the rule made are the tape's. */
  readonly reads: readonly Tensor[]
  /** Leaves with a `grad`, and the tensors, made by the rule, that the work fills. */
  readonly gradients: readonly (readonly [leaf: Tensor, gradient: Tensor])[]
  /** Does it alone. */
  run(): void
}

/** Inside a rule whose gradients of leaves are postponed: it returns undefined for them. */
export function postpone(work: Postponed): void {
  must(replaying, 'tape').postpone(work)
}

/** Inside a rule: what is postponed, where it is of that kind; the rule does it now, beside its own work. */
export function takePostponed<W extends Postponed>(fits: (work: Postponed) => work is W): W | undefined {
  return replaying?.takePostponed(fits)
}

/** Whether the gradient of `tensor` may be postponed: it is added to its `grad`, and nobody else sees it. */
export function isLeaf(tensor: Tensor): boolean {
  return replaying !== undefined && tensor.grad !== undefined
}

/** Gradients up to this size, in bytes, are added to those of their leaves many at a time, by one launch of a GPU. */
const SMALL = 1 << 20
/** So many at a time, or so many bytes, which wait in memory until then. */
const MOST_PENDING = 160
const MOST_PENDING_BYTES = 16 << 20

/** One forward pass, recorded so that its gradients can be computed once. */
export class Tape {
  readonly #nodes: Node[] = []
  readonly #saved = new Set<Tensor>()
  /** How many inputs a gradient stands for. Pass-through rules make it more than one. */
  readonly #uses = new Map<Tensor, number>()
  #outside = 0
  /** Gradients so far, while backward runs. */
  #grads = new Map<Tensor, Tensor>()
  readonly #claimed: Tensor[] = []
  /** What is still to be added to the `grad` of leaves, by that. */
  readonly #pending = new Map<Tensor, Tensor>()
  #pendingBytes = 0
  #postponed: Postponed | undefined
  /** Of this step's rule: done by it. */
  #taken: Postponed | undefined
  /** Tensors that what is postponed reads and fills. */
  readonly #kept = new Set<Tensor>()

  /** Runs `body` and records it. What backward will read stays alive; all else but the result is freed on return. */
  run<S extends readonly unknown[]>(body: () => S): S
  run<T>(body: () => Synchronous<T>): T
  run<T>(body: () => Synchronous<T>): T {
    const outer = recording
    recording = this
    this.#outside = scopes.length
    try {
      return scope<T>(() => {
        const result = body()
        // Saved and returned: the tape borrows it, and it stays the caller's.
        for (const tensor of tensorsIn(result)) if (tensor.owner === this.#saved) tensor.moveTo(scopes.at(-1))
        return result
      })
    } catch (error) {
      this.dispose()
      throw error
    } finally {
      recording = outer
    }
  }

  push(outputs: readonly Tensor[], inputs: readonly Tensor[], saved: readonly Tensor[], backward: GroupBackward): void {
    const lastReads = saved.filter(tensor => tensor.owner && scopes.indexOf(tensor.owner) >= this.#outside)
    for (const tensor of lastReads) tensor.moveTo(this.#saved)
    this.#nodes.push({ outputs, inputs, backward, lastReads })
  }

  isUnique(gradient: Tensor): boolean {
    return this.#uses.get(gradient) === 1
  }

  claim(tensor: Tensor): Tensor | undefined {
    const gradient = this.#grads.get(tensor)
    if (gradient?.dtype !== tensor.dtype) return undefined
    this.#grads.delete(tensor)
    this.#claimed.push(gradient)
    return gradient
  }

  readsLast(tensor: Tensor): boolean {
    return !this.#nodes.some(({ inputs }) => inputs.includes(tensor))
  }

  /**
   * Adds the gradient of `output` to the `grad` of every leaf that has one, and returns those of other leaves that
   * require a gradient; two leaves may share one. `seed`, of output's shape, defaults to 1 for a single element.
   * Consumes tape and seed. Throws ERR_OPTION where this tape did not record `output`, ERR_SHAPE for a seed of another
   * shape.
   */
  backward(output: Tensor, seed?: Tensor): Map<Tensor, Tensor> {
    this.#checkRecorded(output)
    const start = seed ?? ones(output)
    check(
      String(start.shape) === String(output.shape),
      'ERR_SHAPE',
      () => `backward: the seed has shape [${start.shape.join(', ')}], the output [${output.shape.join(', ')}]`,
    )
    return this.backwardFrom([output], [start])
  }

  /** The same of several outputs, each with the gradient that came to it; undefined for one without. */
  backwardFrom(outputs: readonly Tensor[], seeds: readonly (Tensor | undefined)[]): Map<Tensor, Tensor> {
    const grads = new Map<Tensor, Tensor>()
    const outer = replaying
    outer?.addAll() // before what this tape adds to the same leaves
    this.#grads = grads
    replaying = this
    try {
      outputs.forEach((output, i) => {
        const seed = seeds[i]
        if (seed) this.#give(grads, output, seed.moveTo(this.#saved))
      })
      for (let node = this.#nodes.pop(); node; node = this.#nodes.pop()) {
        const dys = node.outputs.map(each => grads.get(each))
        if (dys.some(Boolean)) this.#step(node, dys, grads)
        for (const tensor of node.lastReads) {
          if (tensor.owner !== this.#saved) continue
          if (this.#postponed?.reads.includes(tensor)) tensor.moveTo(this.#kept)
          else tensor.dispose()
        }
      }
      this.addAll()
      for (const gradient of grads.values()) gradient.moveTo(scopes.at(-1))
      return grads
    } finally {
      replaying = outer
      this.dispose()
    }
  }

  /** Frees what the tape holds, for a forward pass whose backward is not wanted. */
  dispose(): void {
    for (const tensor of [...this.#saved, ...this.#kept]) tensor.dispose()
    this.#postponed = undefined
    this.#taken = undefined
    this.#nodes.length = 0
    this.#uses.clear()
    this.#pending.clear()
    this.#grads = new Map()
  }

  #checkRecorded(output: Tensor): void {
    if (output.requiresGrad && this.#nodes.some(node => node.outputs.includes(output))) return
    const why = !this.#nodes.length
      ? 'nothing was recorded, or backward ran before'
      : output.requiresGrad
        ? 'another tape recorded it'
        : 'it depends on no tensor that trains'
    fail(
      'ERR_OPTION',
      `backward: the loss has no gradient (${why}); compute it inside tape.run, from trainable parameters`,
    )
  }

  #step({ inputs, outputs, backward }: Node, dys: readonly (Tensor | undefined)[], grads: Map<Tensor, Tensor>): void {
    for (const output of outputs) grads.delete(output)
    const needs = inputs.map(input => input.requiresGrad)
    const found = scope<(Tensor | undefined)[]>(() => backward(dys, needs))
    if (this.#taken) this.#finish(this.#taken)
    this.#taken = undefined
    for (const dx of new Set(found)) if (dx && !dys.includes(dx)) dx.moveTo(this.#saved)
    const mine = new Set(found.filter(dx => dx !== undefined).filter(dx => !dys.includes(dx)))
    found.forEach((dx, i) => {
      if (dx && needs[i]) this.#give(grads, nth(inputs, i), dx)
    })
    for (const dy of dys) if (dy) this.#release(dy)
    for (const gradient of this.#claimed.splice(0)) this.#release(gradient)
    // What was pending may have been added, and freed, meanwhile.
    for (const dx of mine) if (!this.#uses.has(dx) && dx.owner === this.#saved) dx.dispose()
  }

  /** Adds dx to the gradient of `input`. */
  #give(grads: Map<Tensor, Tensor>, input: Tensor, dx: Tensor): void {
    const sum = grads.get(input)
    if (input.grad) this.#addToLeaf(input.grad, dx)
    else if (!sum) {
      grads.set(input, dx)
      this.#uses.set(dx, (this.#uses.get(dx) ?? 0) + 1)
    } else if (this.isUnique(sum) && sum !== dx) native.accumulate(sum.handle, dx.handle, 1)
    else {
      const total = new Tensor(native.add(sum.handle, dx.handle)).moveTo(this.#saved)
      grads.set(input, total)
      this.#uses.set(total, 1)
      this.#release(sum)
    }
  }

  /** grad += dx, now or with others; in the order in which they come. */
  #addToLeaf(grad: Tensor, dx: Tensor): void {
    const bytes = dx.size * 4
    const [other = grad] = this.#pending.keys()
    const isApart = this.#pending.has(grad) || other.dtype !== grad.dtype || other.device !== grad.device
    const isFull = this.#pendingBytes + bytes > MOST_PENDING_BYTES || this.#pending.size === MOST_PENDING
    if (isApart || isFull) this.addPending()
    // What a rule passes through is dy, which the node before it may overwrite.
    if (bytes > SMALL || dx.owner !== this.#saved || this.#uses.has(dx)) {
      native.accumulate(grad.handle, dx.handle, 1)
      return
    }
    this.#pending.set(grad, dx)
    this.#pendingBytes += bytes
    this.#uses.set(dx, 1)
  }

  postpone(work: Postponed): void {
    this.#runPostponed()
    this.#postponed = work
    const made = work.gradients.map(([, gradient]) => gradient)
    for (const tensor of [...work.reads, ...made]) if (tensor.owner === scopes.at(-1)) tensor.moveTo(this.#kept)
  }

  takePostponed<W extends Postponed>(fits: (work: Postponed) => work is W): W | undefined {
    const work = this.#postponed
    if (!work || !fits(work)) return undefined
    this.#taken = work
    this.#postponed = undefined
    return work
  }

  #runPostponed(): void {
    const work = this.#postponed
    if (!work) return
    this.#postponed = undefined
    work.run()
    this.#finish(work)
  }

  /** Adds the gradients of work that is done to their leaves, and frees what it read. */
  #finish({ reads, gradients }: Postponed): void {
    for (const [leaf, gradient] of gradients) {
      gradient.moveTo(this.#saved)
      this.#addToLeaf(must(leaf.grad, 'grad'), gradient)
      if (!this.#uses.has(gradient)) gradient.dispose()
    }
    for (const tensor of reads) if (tensor.owner === this.#kept) tensor.dispose()
  }

  /** Adds what is pending to its leaves, and what is postponed. */
  addAll(): void {
    this.#runPostponed()
    this.addPending()
  }

  /** Adds what is pending to its leaves. */
  addPending(): void {
    if (this.#pending.size === 0) return
    const handles = (tensors: Iterable<Tensor>) => [...tensors].map(tensor => tensor.handle)
    native.accumulateAll(handles(this.#pending.keys()), handles(this.#pending.values()))
    for (const dx of this.#pending.values()) this.#release(dx)
    this.#pending.clear()
    this.#pendingBytes = 0
  }

  #release(gradient: Tensor): void {
    const uses = (this.#uses.get(gradient) ?? 1) - 1
    if (uses > 0) this.#uses.set(gradient, uses)
    else {
      this.#uses.delete(gradient)
      gradient.dispose()
    }
  }
}

function ones(like: Tensor): Tensor {
  check(
    like.size === 1,
    'ERR_SHAPE',
    () => `backward: the output has shape [${like.shape.join(', ')}], expected one element; pass a seed`,
  )
  return Tensor.ones(like.shape, like)
}
