// DoRA by its name: LoRA with a magnitude (magnitude.ts), as PEFT's file has it.

import { LORA, type LoraOptions } from './lora.ts'
import { type Method, type MethodKind, methodOfKind } from './method.ts'

export const DORA: MethodKind<LoraOptions> = {
  ...LORA,
  type: 'dora',
  title: 'DoRA',
  help: 'low-rank factors of the direction, and the length of each row of the weight',
  fields: LORA.fields.map(field => (field.name === 'useDora' ? { ...field, default: true } : field)),
}

/** {@link lora} with `useDora`. */
export function dora(options: LoraOptions = {}): Method {
  return methodOfKind(DORA, options)
}
