// What axe-core says of a page, in a headless browser.

import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { temporaryFolder } from '../support/temporary.ts'

/** The first browser of Chromium's kind that starts. */
export const browser = ['chromium', 'chromium-browser', 'google-chrome'].find(name => {
  return spawnSync(name, ['--version']).status === 0
})

/** The page as it is after its script ran. */
export function domOf(page: string, name: string): string {
  const folder = temporaryFolder()
  const path = join(folder, 'page.html')
  writeFileSync(path, page)
  const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--virtual-time-budget=20000']
  const profile = `--user-data-dir=${join(folder, 'profile')}`
  const options = { encoding: 'utf8', timeout: 120_000, maxBuffer: 2 ** 28 } as const
  return spawnSync(name, [...flags, profile, '--dump-dom', `file://${path}`], options).stdout
}

/** A line for each rule of axe-core that a page breaks, in both themes; undefined where there is no browser. */
export function problemsOf(page: string): string[] | undefined {
  if (!browser) return undefined
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  // The page's policy lets no other script run, which is right; axe is one.
  const open = page.replace(/<meta http-equiv="Content-Security-Policy"[^>]*>/, '')
  if (open === page) throw new Error('the page has no policy to take away')
  const call = `axe.run().then(({ violations }) => {
    const out = document.createElement('pre')
    out.id = 'axe-results'
    out.textContent = encodeURIComponent(JSON.stringify(violations.flatMap(({ id, nodes }) =>
      nodes.map(node => id + ': ' + node.html.slice(0, 200) + ' ' + (node.any[0]?.message ?? '')))))
    document.body.append(out)
  })`
  const dom = domOf(
    open.replace('</body>', () => `<script>${axe}</script><script>${call}</script></body>`),
    browser,
  )
  const [, found] = /<pre id="axe-results">([^<]*)<\/pre>/.exec(dom) ?? []
  if (found === undefined) throw new Error(`axe did not end: ${dom.slice(-400)}`)
  return JSON.parse(decodeURIComponent(found))
}
