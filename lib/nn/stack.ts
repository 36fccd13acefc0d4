import { checkpoint } from '../autograd/checkpoint.ts'
import { add } from '../ops/add.ts'
import { embedding } from '../ops/embedding.ts'
import { asNow, randomParts } from '../ops/random.ts'
import type { OptionsOf } from '../options.ts'
import { release, scope, type Tensor, tensorsIn } from '../tensor.ts'
import type { EncoderMemory, LayerCache, LayerContext } from './attention.ts'
import type { Batch } from './batch.ts'
import type { Norm } from './norm.ts'
import { asRouted } from './routes.ts'
import type { BatchPrefix } from './virtual.ts'

/** One layer of a transformer: from state to state. */
export type Block<S extends State> = (state: S, context: LayerContext) => S

/** Where a norm comes before each sublayer, it adds in its pass what the last one gave: absent before the first. */
export type PreNorm = readonly [residual: Tensor, branch: Tensor | undefined]

/** What flows from layer to layer. */
type State = readonly (Tensor | undefined)[]

/** Keys and values of earlier tokens, of every layer. */
export interface StackCache {
  readonly layers: readonly LayerCache[]
  /** Most tokens of a sequence. */
  readonly capacity: number
  /** Whether the tokens of this pass are the first of their sequences. */
  readonly isPrompt: boolean
  /** What the encoder made of the sequences that are answered. */
  readonly memory?: EncoderMemory | undefined
}

/** What a forward pass takes or does beside the batch. */
export interface ForwardOptions {
  /** Its layers take in keys and values, and give those of earlier tokens. */
  readonly cache?: StackCache | undefined
  /** What the encoder made, for a decoder that reads it. */
  readonly memory?: EncoderMemory | undefined
  /** Trained keys and values before those of each sequence. */
  readonly prefix?: BatchPrefix | undefined
  /** Sees the embeddings and every layer's output, the last one as the stack returns it. */
  readonly observe?: ((hidden: Tensor) => void) | undefined
  /** Its first layers run once for rows that are the same until then. */
  readonly shared?: SharedLayers | undefined
  /** Keeps the input of each layer alone, and runs the layer again in backward: the same gradients to the bit. */
  readonly checkpoint?: boolean | undefined
}

/** Names of {@link ForwardOptions}. */
export const FORWARD_OPTIONS: OptionsOf<ForwardOptions> = {
  ...{ cache: true, memory: true, prefix: true, observe: true, shared: true, checkpoint: true },
}

/** Layers that make the same of rows which occur several times in a batch. */
export interface SharedLayers {
  /** The rows once each. */
  readonly batch: Batch
  /** How many layers, from the first. */
  readonly layers: number
  /** Which of them each row of the whole batch is, i32[N]. */
  readonly rows: Tensor
  /** Runs what is made of the rows once each. */
  readonly alone: <T>(body: () => T) => T
}

/** Batch → last hidden state [N, D]. */
export type Forward = (batch: Batch, options?: ForwardOptions) => Tensor

interface Stack<S extends State> {
  embed(batch: Batch, options: ForwardOptions): S
  readonly blocks: readonly Block<S>[]
  /** The hidden state [N, D] between layers. */
  hidden(state: S): Tensor
  /** The last hidden state. Default: `hidden`. */
  output?(state: S): Tensor
}

/** The forward pass of a stack. A state is freed once the next layer has read it, unless somebody observes. */
export function stack<S extends State>({ embed, blocks, hidden, output = hidden }: Stack<S>): Forward {
  return (batch, options = {}) => {
    const { cache, memory, prefix, observe, shared, checkpoint: again = false } = options
    const see = (state: S, at: number) => {
      if (at < blocks.length) observe?.(hidden(state))
    }
    let state = shared ? sharedState(shared, embed, blocks) : scope(() => embed(batch, options))
    see(state, 0)
    for (const [i, block] of blocks.entries()) {
      if (shared && i < shared.layers) continue
      const context: LayerContext = { batch, cache: cache?.layers[i], memory, prefix, layer: i }
      const next = again ? rerun(state, block, context) : scope(() => block(state, context))
      if (!observe) leave(state, next)
      state = next
      see(state, i + 1)
    }
    const last = scope(() => output(state))
    if (!observe) leave(state, [last])
    observe?.(last)
    return last
  }
}

/** Frees a state that was read, but for what goes on. */
function leave(state: State, kept: State): void {
  for (const tensor of state) if (tensor && !kept.includes(tensor)) release(tensor)
}

/** The state of the whole batch after layers that ran for its rows once each. */
function sharedState<S extends State>(shared: SharedLayers, embed: Stack<S>['embed'], blocks: readonly Block<S>[]): S {
  const { batch, layers, rows, alone } = shared
  return scope(() => {
    const last = alone(() => {
      let state = embed(batch, {})
      for (const [layer, block] of blocks.slice(0, layers).entries()) {
        const next = scope(() => block(state, { batch, layer }))
        leave(state, next)
        state = next
      }
      return state
    })
    return as<S>(last.map(each => each && embedding(each, rows, each.dtype)))
  })
}

/** Tensors, one for one those of a state. */
const as = <S extends State>(state: State) => state as S

/** Layers whose sublayers end in a norm: the hidden state is all there is between them. */
export function postNorm(
  embed: (batch: Batch) => Tensor,
  layers: readonly ((hidden: Tensor, context: LayerContext) => Tensor)[],
): Forward {
  const blocks = layers.map(
    (layer): Block<readonly [Tensor]> =>
      ([x], context) => [layer(x, context)],
  )
  return stack({ embed: batch => [embed(batch)] as const, blocks, hidden: ([x]) => x })
}

/** Layers whose sublayers begin with a norm, and the norm after the last. */
export function preNorm(embed: (batch: Batch) => Tensor, blocks: readonly Block<PreNorm>[], norm: Norm): Forward {
  return stack<PreNorm>({
    embed: batch => [embed(batch), undefined],
    blocks,
    hidden: ([h, branch]) => (branch ? add(h, branch) : h),
    output: ([h, branch]) => norm.join(h, branch).y,
  })
}

function rerun<S extends State>(state: S, block: Block<S>, context: LayerContext): S {
  const [inNow, routed] = [asNow(), asRouted()]
  const { batch, memory, prefix } = context
  const body = ([hidden, ...own]: State) => {
    const given = hidden && memory ? { ...context, memory: { ...memory, hidden } } : context
    const rest: State = own
    return routed(() => inNow(() => block(as<S>(rest), given)))
  }
  const bounds = (randomParts() ?? []).map(({ cuSeqlens }) => cuSeqlens)
  const reads = [...tensorsIn(batch), ...bounds, ...(memory ? [memory.cuSeqlens] : []), ...tensorsIn(prefix)]
  return checkpoint([memory?.hidden, ...state], body, reads)
}
