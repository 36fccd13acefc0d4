// The methods by name. A new one is a file and a line here; the command line's --method and its options, the table of
// docs/methods.md, loading, and the tests of all methods (test/peft/matrix.test.ts) follow from its MethodKind.

import { fail, nearest } from '../errors.ts'
import { ADALORA } from './adalora.ts'
import { BITFIT } from './bitfit.ts'
import { BOTTLENECK } from './bottleneck.ts'
import { DORA } from './dora.ts'
import { FULL } from './full.ts'
import { HEAD } from './head.ts'
import { IA3 } from './ia3.ts'
import { LAST_LAYERS } from './lastLayers.ts'
import { LN_TUNING } from './lnTuning.ts'
import { LORA } from './lora.ts'
import { anyKind, type Method, type MethodKind, methodOfKind } from './method.ts'
import { MISS } from './miss.ts'
import { PREFIX, PROMPT } from './prompt.ts'
import { PROMPT_ENCODER } from './promptEncoder.ts'
import { SVD } from './svd.ts'
import { TRAINABLE_TOKENS } from './trainableTokens.ts'
import { VERA } from './vera.ts'

/** Of several with one `peft_type`, the first reads PEFT's folders. */
export const METHODS: readonly MethodKind[] = [
  anyKind(LORA),
  anyKind(DORA),
  anyKind(ADALORA),
  anyKind(SVD),
  anyKind(VERA),
  anyKind(MISS),
  anyKind(IA3),
  anyKind(BITFIT),
  anyKind(LN_TUNING),
  anyKind(BOTTLENECK),
  anyKind(TRAINABLE_TOKENS),
  anyKind(PROMPT),
  anyKind(PROMPT_ENCODER),
  anyKind(PREFIX),
  anyKind(HEAD),
  anyKind(LAST_LAYERS),
  anyKind(FULL),
]

/** A kind by our name or PEFT's. Throws ERR_OPTION naming the known ones. */
export function kindOf(type: string): MethodKind {
  const types = METHODS.map(each => each.type)
  return (
    METHODS.find(each => each.type === type || each.peftType === type) ??
    fail('ERR_OPTION', `method: "${type}" is unknown${nearest(type, types)}; known are ${types.join(', ')}`)
  )
}

/** A method by name, with its options checked. Throws ERR_OPTION. */
export function createMethod(type: string, options: object = {}): Method {
  return methodOfKind(kindOf(type), { ...options })
}
