// YAML files of options, with errors that name the place.

import { type Document, parseDocument } from 'yaml'
import { check, fail, messageOf } from '../../errors.ts'

/** The mapping a YAML text holds; an empty text holds none. @throws ERR_OPTION naming line and column */
export function parseYaml(path: string, text: string): Record<string, unknown> {
  const document = parseDocument(text, { prettyErrors: false })
  const [error] = document.errors
  check(!error, 'ERR_OPTION', () => {
    const before = text.slice(0, error!.pos[0])
    const line = before.split('\n').length
    const column = before.length - before.lastIndexOf('\n')
    return `${path}:${line}:${column}: is not YAML: ${error!.message}`
  })
  const value: unknown = resolved(path, document) ?? {}
  check(typeof value === 'object' && value !== null && !Array.isArray(value), 'ERR_OPTION', () => {
    return `${path}: holds ${Array.isArray(value) ? 'a list' : `"${String(value)}"`}, not options as "name: value" lines`
  })
  return value as Record<string, unknown>
}

/** Aliases of aliases may stand for more than any memory holds: the reader refuses them. */
function resolved(path: string, document: Document): unknown {
  try {
    return document.toJS()
  } catch (error) {
    fail('ERR_OPTION', `${path}: ${messageOf(error)}; write the values out`, error)
  }
}
