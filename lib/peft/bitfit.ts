// BitFit (Ben Zaken et al. 2022): the biases of the model train, and its head.

import { check } from '../errors.ts'
import { type Field, SAVE_FIELD, type SaveWholeOptions } from './fields.ts'
import { type Method, type MethodKind, methodOfKind } from './method.ts'
import { trainedWhole } from './wholeModules.ts'

/** Options of {@link bitfit}. */
export interface BitFitOptions extends SaveWholeOptions {}

const fields: readonly Field<keyof BitFitOptions>[] = [SAVE_FIELD]

export const BITFIT: MethodKind<BitFitOptions> = {
  type: 'bitfit',
  peftType: 'BITFIT',
  title: 'BitFit',
  help: 'the biases of the model and its head',
  lr: 1e-3,
  fields,
  place: (host, options, context) => {
    const whole = trainedWhole(host, { ...options, bias: 'all' }, context, [])
    const biases = whole.filter(({ name }) => /(^|\.)bias$/.test(name))
    check(biases.length > 0, 'ERR_OPTION', () => {
      return `bitfit: ${host.config.modelType} has no biases to train; take another method`
    })
    return { linear: new Map(), whole, matched: biases.map(({ name }) => ({ path: name, text: 'trained whole' })) }
  },
}

/**
 * Trains every bias of the model, and the head. The folder has the layout of PEFT's, which has no such method:
 * `peft_type` BITFIT and the new biases under their names.
 */
export function bitfit(options: BitFitOptions = {}): Method {
  return methodOfKind(BITFIT, options)
}
