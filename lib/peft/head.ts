// The head alone over a frozen base: what any method has to beat.

import { check } from '../errors.ts'
import { type Field, SAVE_FIELD, type SaveWholeOptions } from './fields.ts'
import { type Method, type MethodKind, methodOfKind } from './method.ts'
import { moduleOf, trainedWhole } from './wholeModules.ts'

/** Options of {@link headOnly}. */
export interface HeadOptions extends SaveWholeOptions {}

const fields: readonly Field<keyof HeadOptions>[] = [SAVE_FIELD]

export const HEAD: MethodKind<HeadOptions> = {
  type: 'head',
  peftType: 'HEAD',
  title: 'head only',
  help: 'the head of the task alone, over a frozen base',
  lr: 1e-3,
  fields,
  place: (host, options, context) => {
    const whole = trainedWhole(host, options, context, [])
    check(whole.length > 0, 'ERR_OPTION', () => {
      return `head: ${host.config.modelType} for ${host.task} has no head of its own to train; take another method`
    })
    const modules = [...new Set(whole.map(({ name }) => moduleOf(name)))]
    return { linear: new Map(), whole, matched: modules.map(path => ({ path, text: 'trained whole' })) }
  },
}

/**
 * Trains the head of the task, and what the checkpoint lacked, over a frozen base. The folder has the layout of PEFT's,
 * which has no such method: `peft_type` HEAD and the head under its names.
 */
export function headOnly(options: HeadOptions = {}): Method {
  return methodOfKind(HEAD, options)
}
