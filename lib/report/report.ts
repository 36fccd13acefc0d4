// One self-contained HTML page about a run. It opens offline: styles, script and charts are inside.

import { createHash } from 'node:crypto'
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fail } from '../errors.ts'
import { ensureFolder } from '../io/folder.ts'
import type { ReportData } from './data.ts'
import { Html, html } from './html.ts'
import { mistakesSection } from './mistakes.ts'
import { script } from './script.ts'
import {
  classesSection,
  confusionSection,
  curvesSection,
  dataSection,
  evaluationsSection,
  scatterSection,
  settingsSection,
} from './sections.ts'
import { style } from './style.ts'
import { comparisonSection, masthead } from './summary.ts'

export type * from './data.ts'

// Only this very script may run, and nothing may be fetched, even if escaping failed somewhere.
function contentPolicy(): string {
  const hash = createHash('sha256').update(script).digest('base64')
  const rules = ["default-src 'none'", "style-src 'unsafe-inline'", `script-src 'sha256-${hash}'`, "base-uri 'none'"]
  return [...rules, "form-action 'none'"].join('; ')
}

/** The page as a string of HTML. */
export function renderReport(data: ReportData): string {
  const page = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${contentPolicy()}"><title>${data.title}</title>
<style>${new Html(style)}</style></head><body><main>
${masthead(data)}
${comparisonSection(data)}
${curvesSection(data)}
${evaluationsSection(data)}
${scatterSection(data)}
${confusionSection(data)}
${classesSection(data)}
${mistakesSection(data)}
${dataSection(data)}
${settingsSection('Settings', data.settings)}
${settingsSection('Environment', data.environment)}
<footer>Written by lowrank. The page is complete in itself and opens offline.</footer>
</main><script>${new Html(script)}</script></body></html>
`
  return page.markup
}

/**
 * Writes the report to `path` (its folder is made), through a temporary file beside it, so that a reader sees the old
 * page or the new one. Throws ERR_DATA when it cannot be written.
 */
export function writeReport(path: string, data: ReportData): void {
  const text = renderReport(data)
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`)
  try {
    ensureFolder(dirname(path))
    const descriptor = openSync(temporary, 'w')
    try {
      writeFileSync(descriptor, text)
      fsyncSync(descriptor)
    } finally {
      closeSync(descriptor)
    }
    renameSync(temporary, path)
  } catch (error) {
    if (existsSync(temporary)) rmSync(temporary)
    const reason = error instanceof Error ? error.message : String(error)
    fail('ERR_DATA', `report: ${path} cannot be written (${reason}); choose a folder that is writable`, error)
  }
}
