// One self-contained HTML page about a run. It opens offline: styles, script and charts are inside.

import { writeFileAtomic } from '../io/atomic.ts'
import { batchSection } from './batch.ts'
import { calibrationSection } from './calibration.ts'
import type { ReportData } from './data.ts'
import { mistakesSection } from './mistakes.ts'
import { page } from './page.ts'
import {
  classesSection,
  confusionSection,
  curvesSection,
  dataSection,
  evaluationsSection,
  reproduceSection,
  scatterSection,
  settingsSection,
} from './sections.ts'
import { spectrumSection } from './spectrum.ts'
import { comparisonSection, masthead } from './summary.ts'

export type * from './data.ts'

/** The page as a string of HTML. */
export function renderReport(data: ReportData): string {
  return page(data.title, [
    masthead(data),
    comparisonSection(data),
    curvesSection(data),
    evaluationsSection(data),
    scatterSection(data),
    confusionSection(data),
    classesSection(data),
    calibrationSection(data),
    mistakesSection(data),
    spectrumSection(data),
    batchSection(data),
    dataSection(data),
    settingsSection('Settings', data.settings),
    settingsSection('Environment', data.environment),
    reproduceSection(data),
  ])
}

/**
 * Writes the report to `path` (its folder is made): a reader sees the old page or the new one. Errors: those of
 * `writeFileAtomic`.
 */
export async function writeReport(path: string, data: ReportData): Promise<void> {
  await writeFileAtomic(path, renderReport(data))
}
