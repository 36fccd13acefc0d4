// Makes docs/picture.png: what `npx lowrank quickstart` leaves in a terminal, beside the report that it writes.
// `node scripts/picture.mjs` needs a build, tmux, chromium and two minutes; nothing in the run is made for the picture.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const target = join(root, 'docs/picture.png')
const [COLUMNS, ROWS, WIDTH, HEIGHT] = [100, 40, 1440, 720]
const MOST_BYTES = 200_000

function output(program, ...args) {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${program} ${args[0]} failed: ${error?.message ?? stderr}`)
  return stdout
}

/** Runs quickstart in a terminal and returns its screen, escapes of colours and all. */
async function screenOf(folder) {
  const session = `lowrank-picture-${process.pid}`
  const size = ['-x', String(COLUMNS), '-y', String(ROWS)]
  const status = join(folder, 'status')
  const command = `node ${join(root, 'dist/lib/cli/main.js')} quickstart; echo $? > ${status}; sleep 60`
  output('tmux', 'new-session', '-d', '-s', session, ...size, '-c', folder, command)
  try {
    while (!statSync(status, { throwIfNoEntry: false })?.size) await wait(500)
    return output('tmux', 'capture-pane', '-e', '-p', '-S', '-', '-t', session)
  } finally {
    output('tmux', 'kill-session', '-t', session)
  }
}

/** What a code of the terminal is in CSS. */
const STYLES = {
  1: 'font-weight:700',
  2: 'color:#8b949e',
  31: 'color:#ff7b72',
  32: 'color:#7ee787',
  33: 'color:#e3b341',
  34: 'color:#79c0ff',
  36: 'color:#76e3ea',
}

const ESCAPE = new RegExp(`${String.fromCharCode(27)}\\[([\\d;]*)m`)

/** Text with the terminal's escapes as HTML. */
function htmlOf(screen) {
  let on = []
  return screen
    .replace(/[&<>]/g, character => `&#${character.charCodeAt(0)};`)
    .split(ESCAPE)
    .map((part, i) => {
      if (i % 2 === 0)
        return on.length && part ? `<span style="${on.map(code => STYLES[code]).join(';')}">${part}</span>` : part
      for (const code of part.split(';').map(Number))
        on = code === 0 ? [] : STYLES[code] ? [...on, code] : on.filter(isKept(code))
      return ''
    })
    .join('')
}

/** Which codes stay: 22 ends bold and dim, 39 a colour. */
const isKept = end => code => (end === 22 ? code > 2 : end === 39 ? code <= 2 : true)

const page = (screen, report) => `<!doctype html><meta charset="utf-8"><style>
  body { margin: 0; display: flex; width: ${WIDTH}px; height: ${HEIGHT}px; background: #0d1117; overflow: hidden }
  pre { margin: 0; padding: 16px 18px; width: 690px; box-sizing: border-box; color: #e6edf3; font: 10.6px/17px monospace }
  div { flex: 1; background: #fff; overflow: hidden }
  iframe { border: 0; width: 1071px; height: 1029px; transform: scale(0.7); transform-origin: 0 0 }
</style><pre><span style="color:#8b949e">$</span> npx lowrank quickstart
${htmlOf(screen)}</pre><div><iframe src="${report}"></iframe></div>`

async function main() {
  const folder = mkdtempSync(join(tmpdir(), 'lowrank-picture-'))
  try {
    const screen = (await screenOf(folder)).trimEnd()
    writeFileSync(join(folder, 'page.html'), page(screen, 'lowrank-quickstart/report.html'))
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--virtual-time-budget=10000']
    const place = [`--user-data-dir=${join(folder, 'profile')}`, `--window-size=${WIDTH},${HEIGHT}`]
    const file = join(folder, 'picture.png')
    output('chromium', ...flags, ...place, `--screenshot=${file}`, pathToFileURL(join(folder, 'page.html')).href)
    const { size } = statSync(file)
    if (size > MOST_BYTES) throw new Error(`the picture has ${size} bytes, ${MOST_BYTES} at most`)
    renameSync(file, target)
    console.log(`docs/picture.png, ${(size / 1e3).toFixed(0)} kB`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

await main()
