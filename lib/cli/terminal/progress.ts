// Progress of a long job: one line redrawn in place on a terminal, plain lines now and then elsewhere.

import { styleText } from 'node:util'
import { clockText } from '../../report/format.ts'
import { shortCountText } from './format.ts'
import { displayWidth, truncate } from './table.ts'
import { visible } from './visible.ts'

/** The part of a tty.WriteStream that progress needs; process.stderr is one. */
type ProgressStream = {
  isTTY?: boolean | undefined
  columns?: number | undefined
  write(text: string): boolean
  on(event: string, listener: (...args: unknown[]) => void): unknown
  off(event: string, listener: (...args: unknown[]) => void): unknown
}

/** Where a job stands. */
type ProgressState = {
  step: number
  loss?: number
  /** Units a second, e.g. tokens. */
  rate?: number
}

/** Options of {@link createProgress}. */
type ProgressOptions = {
  label: string
  /** Steps to do; without it there is no bar and no estimate. */
  total?: number
  /** Name of what `rate` counts; default `tok/s`. */
  unit?: string
  /** Steps already done before this process, for the estimate of a resumed run. */
  first?: number
  /** Default process.stderr. */
  stream?: ProgressStream
  /** Plain mode writes a line after so many steps, or after `everySeconds`, whichever is first; default 5 s alone. */
  everySteps?: number
  everySeconds?: number
  /** Nothing at all is written. */
  quiet?: boolean
  env?: Readonly<Record<string, string | undefined>>
  /** Milliseconds. */
  now?: () => number
}

/** A running progress display. */
export type Progress = {
  update(state: ProgressState): void
  /** Writes a line of its own above the bar. */
  log(line: string): void
  /** Clears the bar; `line`, if given, takes its place. */
  finish(line?: string): void
}

type Look = { color: boolean; unicode: boolean }
type Style = Parameters<typeof styleText>[0]

const REDRAW_MILLISECONDS = 80
const CLEAR_LINE = '\r\x1b[K'
const CLEAR_BELOW = '\r\x1b[J'

const guarded = new WeakSet<ProgressStream>()

// A reader that closes the pipe (`| head`) must not end the training run.
function writer(stream: ProgressStream): (text: string) => void {
  let broken = false
  const listener = () => {
    broken = true
  }
  if (!guarded.has(stream)) {
    guarded.add(stream)
    stream.on('error', listener)
  }
  return text => {
    if (broken) return
    try {
      stream.write(text)
    } catch {
      broken = true
    }
  }
}

function formatLoss(loss: number): string {
  return Math.abs(loss) >= 1e-3 && Math.abs(loss) < 1e4 ? loss.toFixed(4) : loss.toPrecision(4)
}

function bar(width: number, fraction: number, look: Look): string {
  const filled = Math.round(Math.min(1, Math.max(0, fraction)) * width)
  const paint = (style: Style, text: string) => (look.color ? styleText(style, text, { validateStream: false }) : text)
  if (!look.unicode) return `[${'='.repeat(filled)}${'.'.repeat(width - filled)}]`
  return paint('cyan', '━'.repeat(filled)) + paint('dim', '─'.repeat(width - filled))
}

type View = { label: string; total: number | undefined; unit: string; state: ProgressState; eta: number }

function parts(view: View): { count: string; percent: string; loss: string; rate: string; eta: string } {
  const { state, total, unit } = view
  const step = String(state.step).padStart(String(total ?? '').length)
  return {
    count: total === undefined ? `${state.step}` : `${step}/${total}`,
    percent: total ? `${String(Math.floor((100 * state.step) / total)).padStart(3)}%` : '',
    loss: state.loss === undefined ? '' : `loss ${formatLoss(state.loss)}`,
    rate: state.rate === undefined ? '' : `${shortCountText(state.rate)} ${unit}`,
    eta: total === undefined ? '' : `ETA ${clockText(view.eta)}`,
  }
}

/** The bar line for `columns` cells; what matters least goes first when they are few. */
function terminalLine(view: View, columns: number, look: Look): string {
  const p = parts(view)
  const available = columns - 1
  const paint = (style: Style, text: string) => (look.color ? styleText(style, text, { validateStream: false }) : text)
  const tails = [
    [p.count, p.percent, p.loss, p.rate, p.eta],
    [p.count, p.loss, p.rate, p.eta],
    [p.count, p.loss, p.eta],
    [p.count, p.eta],
    [p.count],
  ]
  for (const tail of tails) {
    const text = tail.filter(Boolean).join('  ')
    const room = available - displayWidth(view.label) - displayWidth(text) - 4 - (look.unicode ? 0 : 2)
    if (view.total === undefined ? room < -2 : room < 8) continue
    const middle = view.total === undefined ? '' : `${bar(Math.min(room, 36), view.state.step / view.total, look)}  `
    return `${paint('bold', view.label)}  ${middle}${text}`
  }
  return truncate(`${view.label} ${p.count}`, available)
}

function plainLine(view: View): string {
  const p = parts(view)
  const percent = p.percent && `(${p.percent.trim()})`
  return [view.label, p.count.trim(), percent, p.loss, p.rate, p.eta].filter(Boolean).join(' ')
}

function lookOf(env: Readonly<Record<string, string | undefined>>): Look {
  const locale = env.LC_ALL || env.LC_CTYPE || env.LANG
  return { color: !env.NO_COLOR, unicode: locale === undefined || /utf-?8/i.test(locale) }
}

// Time a step takes, from the last steps mostly, so that the estimate follows a change of pace but does not jump.
function pace(first: number, started: number): (step: number, now: number) => number {
  let [lastStep, lastTime, perStep] = [first, started, Number.NaN]
  return (step, now) => {
    const done = step - lastStep
    if (done > 0 && now > lastTime) {
      const recent = (now - lastTime) / done
      const weight = 0.9 ** done
      perStep = Number.isNaN(perStep) ? recent : weight * perStep + (1 - weight) * recent
      lastStep = step
      lastTime = now
    }
    return perStep
  }
}

type Display = { draw(view: View, now: number): void; log(line: string): void; finish(line?: string): void }

function terminalDisplay(stream: ProgressStream, look: Look): Display {
  const write = writer(stream)
  let last: View | undefined
  let drawn = Number.NEGATIVE_INFINITY
  const redraw = (clear: string) => last && write(clear + terminalLine(last, stream.columns || 80, look))
  // A narrower terminal has folded the old line; what hangs below it goes too.
  const resized = () => redraw(CLEAR_BELOW)
  stream.on('resize', resized)
  return {
    draw(view, now) {
      last = view
      if (now - drawn < REDRAW_MILLISECONDS && view.state.step !== view.total) return
      drawn = now
      redraw(CLEAR_LINE)
    },
    log(line) {
      write(`${CLEAR_LINE}${visible(line)}\n`)
      redraw('')
    },
    finish(line) {
      last = undefined
      stream.off('resize', resized)
      write(CLEAR_LINE + (line === undefined ? '' : `${line}\n`))
    },
  }
}

function plainDisplay(stream: ProgressStream, everySteps: number, everySeconds: number): Display {
  const write = writer(stream)
  let lastStep = Number.NEGATIVE_INFINITY
  let lastTime = Number.NEGATIVE_INFINITY
  return {
    draw(view, now) {
      const { step } = view.state
      const due = step - lastStep >= everySteps || now - lastTime >= 1000 * everySeconds || step === view.total
      if (!due || step === lastStep) return
      lastStep = step
      lastTime = now
      write(`${plainLine(view)}\n`)
    },
    log(line) {
      write(`${visible(line)}\n`)
    },
    finish(line) {
      if (line !== undefined) write(`${line}\n`)
    },
  }
}

const silent: Display = { draw() {}, log() {}, finish() {} }

/**
 * Starts a progress display. On a terminal it is one line, redrawn at most every 80 ms and cleared by `finish`;
 * elsewhere (or with TERM=dumb) it is plain lines without control codes. NO_COLOR is honoured, a closed pipe ignored.
 */
export function createProgress(options: ProgressOptions): Progress {
  const { label, total, unit = 'tok/s', first = 0, stream = process.stderr, quiet = false } = options
  const { everySteps = Number.POSITIVE_INFINITY, everySeconds = 5, env = process.env, now = Date.now } = options
  const terminal = stream.isTTY && env.TERM !== 'dumb'
  const display = quiet
    ? silent
    : terminal
      ? terminalDisplay(stream, lookOf(env))
      : plainDisplay(stream, everySteps, everySeconds)
  const perStep = pace(first, now())
  let finished = false
  return {
    update(state) {
      if (finished) return
      const time = now()
      const eta = total === undefined ? Number.NaN : ((total - state.step) * perStep(state.step, time)) / 1000
      display.draw({ label, total, unit, state, eta }, time)
    },
    log: line => display.log(line),
    finish(line) {
      if (finished) return
      finished = true
      display.finish(line)
    },
  }
}

/**
 * A callback that draws how far an evaluation is, and clears the line when it is done; on terminals only: elsewhere the
 * result that follows says enough.
 */
export function evaluationBar(quiet: boolean): (split: string, done: number, total: number) => void {
  let bar: Progress | undefined
  return (split, done, total) => {
    if (!process.stderr.isTTY || quiet) return
    bar ??= createProgress({ label: `Evaluating ${split}`, total })
    bar.update({ step: done })
    if (done < total) return
    bar.finish()
    bar = undefined
  }
}
