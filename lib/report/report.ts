// One self-contained HTML page about a run. It opens offline: styles, script and charts are inside.

import { createHash } from 'node:crypto'
import { writeFileAtomic } from '../io/atomic.ts'
import { batchSection } from './batch.ts'
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
${batchSection(data)}
${dataSection(data)}
${settingsSection('Settings', data.settings)}
${settingsSection('Environment', data.environment)}
<footer>Written by lowrank. The page is complete in itself and opens offline.</footer>
</main><script>${new Html(script)}</script></body></html>
`
  return page.markup
}

/**
 * Writes the report to `path` (its folder is made): a reader sees the old page or the new one. Errors: those of
 * `writeFileAtomic`.
 */
export async function writeReport(path: string, data: ReportData): Promise<void> {
  await writeFileAtomic(path, renderReport(data))
}
