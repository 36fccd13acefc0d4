// HTML by tagged template: every interpolated string is escaped, only Html values are not.

import { nth, under } from '../tuple.ts'

/** Markup that is safe to embed. */
export class Html {
  readonly markup: string

  constructor(markup: string) {
    this.markup = markup
  }
}

/** What a template may interpolate; `false`, `null` and `undefined` vanish. */
export type Content = Html | string | number | false | null | undefined | readonly Content[]

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Text for an element or a quoted attribute; forbidden control characters and lone surrogates become U+FFFD. */
function escapeHtml(text: string): string {
  return text
    .replace(/\p{Surrogate}/gu, '\ufffd')
    .replace(/[^\P{Cc}\t\n\r]|[\ufffe\uffff]/gu, '\ufffd')
    .replace(/[&<>"']/g, character => under(entities, character))
}

function render(content: Content): string {
  if (content instanceof Html) return content.markup
  if (Array.isArray(content)) return content.map(render).join('')
  if (content === false || content === null || content === undefined) return ''
  return escapeHtml(String(content))
}

/** Template tag. Interpolate into element content and double-quoted attributes only. */
export function html(strings: TemplateStringsArray, ...values: Content[]): Html {
  let markup = nth(strings, 0)
  for (const [i, value] of values.entries()) markup += render(value) + nth(strings, i + 1)
  return new Html(markup)
}
