// What all pages have in common: one file that opens offline, with styles and script inside.

import { createHash } from 'node:crypto'
import { type Content, Html, html } from './html.ts'
import { script } from './script.ts'
import { style } from './style.ts'

// Only this very script may run, and nothing may be fetched, even if escaping failed somewhere.
function contentPolicy(): string {
  const hash = createHash('sha256').update(script).digest('base64')
  const rules = ["default-src 'none'", "style-src 'unsafe-inline'", `script-src 'sha256-${hash}'`, "base-uri 'none'"]
  return [...rules, "form-action 'none'"].join('; ')
}

/** A page of sections as a string of HTML. */
export function page(title: string, sections: readonly Content[]): string {
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${contentPolicy()}"><title>${title}</title>
<style>${new Html(style)}</style></head><body><main>
${sections.map(section => html`${section}\n`)}<footer>Written by lowrank. The page is complete in itself and opens offline.</footer>
</main><script>${new Html(script)}</script></body></html>
`.markup
}
