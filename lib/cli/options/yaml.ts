// YAML files of options, with errors that name the place.

import { type Document, parseDocument } from 'yaml'
import { check, fail, messageOf } from '../../errors.ts'
import { isRecord } from '../../options.ts'
import { must } from '../../tuple.ts'

/** The mapping a YAML text holds; an empty text holds none. @throws ERR_OPTION naming line and column */
export function parseYaml(path: string, text: string): Record<string, unknown> {
  const document = parseDocument(text, { prettyErrors: false, logLevel: 'error' })
  const [error] = document.errors
  check(!error, 'ERR_OPTION', () => {
    const before = text.slice(0, must(error, 'error').pos[0])
    const line = before.split('\n').length
    const column = before.length - before.lastIndexOf('\n')
    return `${path}:${line}:${column}: is not YAML: ${must(error, 'error').message}`
  })
  const value: unknown = resolved(path, document) ?? {}
  check(isRecord(value), 'ERR_OPTION', () => {
    return `${path}: holds ${Array.isArray(value) ? 'a list' : `"${String(value)}"`}, not options as "name: value" lines`
  })
  return value
}

/** Aliases may stand for more than any memory holds, which the reader refuses, or for what they stand in. */
function resolved(path: string, document: Document): unknown {
  try {
    const value: unknown = document.toJS()
    JSON.stringify(value)
    return value
  } catch (error) {
    const [what] = messageOf(error).split('\n')
    fail('ERR_OPTION', `${path}: an alias stands for too much or for itself (${what}); write the values out`, error)
  }
}
