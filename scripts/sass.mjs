// Machine code of a kernel as a graph: what a listing of `cuobjdump -sass` says about which way the code can go, how
// many registers it reaches, and how many instructions a turn of a loop takes.

const LINE = /^\s+\/\*([0-9a-f]{4,})\*\/\s+(?:(@!?U?P\w+)\s+)?([A-Z][\w.]*)\s*(.*?)\s*;/

/** One line of a listing as { at, op, operands, conditional, target }; undefined where it is none. */
export function instructionOf(line) {
  const found = line.match(LINE)
  if (!found) return undefined
  const [, at, guard, op, operands] = found
  const jumps = /^(BRA|CALL|BRX|JMP)/.test(op)
  const target = jumps ? operands.match(/0x[0-9a-f]+$/)?.[0] : undefined
  const conditional = guard !== undefined || (op === 'BRA' && /^U?P|^!U?P/.test(operands))
  return { at: Number.parseInt(at, 16), op, operands, conditional, target: target && Number(target) }
}

/** Indices of what may follow each instruction. */
function successorsOf(code) {
  const index = new Map(code.map(({ at }, i) => [at, i]))
  return code.map(({ op, conditional, target }, i) => {
    const next = i + 1 < code.length ? [i + 1] : []
    const jump = target !== undefined && index.has(target) ? [index.get(target)] : []
    if (/^(EXIT|RET)/.test(op)) return conditional ? next : []
    if (/^(BRA|JMP)/.test(op)) return conditional ? [...next, ...jump] : jump
    return [...next, ...jump]
  })
}

/** Instructions from `from` to each other, at least; Infinity where there is no way. Ways end at `stop`. */
function distances(successors, from, stop = () => false) {
  const all = new Array(successors.length).fill(Number.POSITIVE_INFINITY)
  all[from] = 0
  const queue = [from]
  for (const i of queue)
    for (const next of stop(i) && i !== from ? [] : successors[i])
      if (all[next] === Number.POSITIVE_INFINITY) {
        all[next] = all[i] + 1
        queue.push(next)
      }
  return all
}

/** The highest register that an instruction names or reaches; -1 for none. */
export function highestRegister({ op, operands }) {
  const named = [...operands.matchAll(/\bR(\d+)\b/g)].map(match => Number(match[1]))
  if (!named.length) return -1
  const columns = op.match(/^HGMMA\.64x(\d+)x/)?.[1]
  if (columns) return Math.max(named[0] + Number(columns) / 2 - 1, ...named.slice(1).map(register => register + 3))
  const wide = /\.128|M88\.4/.test(op) ? 3 : /\.64|WIDE|M88\.2/.test(op) ? 1 : 0
  return Math.max(...named) + wide
}

/** Of each setmaxnreg: { limit, highest }, the registers it leaves and the highest that is reached after it. */
export function registerLimits(code) {
  const successors = successorsOf(code)
  const changes = i => code[i].op.startsWith('USETMAXREG')
  return code.flatMap((instruction, i) => {
    if (!changes(i)) return []
    const limit = Number(instruction.operands.match(/0x[0-9a-f]+$/)[0])
    const reached = distances(successors, i, changes)
    const after = code.filter((_, j) => j !== i && reached[j] < Number.POSITIVE_INFINITY)
    return [{ limit, highest: Math.max(...after.map(highestRegister)) }]
  })
}

/**
 * Of the loop around wgmma: { plain, masked }, the instructions of its shortest turn, and of the shortest one that puts
 * minus infinity in place of scores. Undefined where there is no such loop.
 */
export function turnsOf(code) {
  const successors = successorsOf(code)
  const index = new Map(code.map(({ at }, i) => [at, i]))
  const holds = (from, to, test) => code.slice(from, to + 1).some(test)
  const loops = code.flatMap(({ op, target }, tail) => {
    const head = /^BRA/.test(op) && target !== undefined ? index.get(target) : undefined
    return head !== undefined && head < tail && holds(head, tail, each => each.op.startsWith('HGMMA'))
      ? [{ head, tail }]
      : []
  })
  const selects = code.flatMap(({ op, operands }, i) => (op.startsWith('FSEL') && /-INF/.test(operands) ? [i] : []))
  const turns = loops.flatMap(({ head, tail }) => {
    const from = distances(successors, head)
    const through = selects.filter(i => from[i] < Number.POSITIVE_INFINITY)
    const masked = through.map(i => from[i] + distances(successors, i, j => j === head)[tail])
    const least = Math.min(...masked)
    return Number.isFinite(least) ? [{ plain: from[tail] + 1, masked: least + 1 }] : []
  })
  return turns.sort((a, b) => a.plain - b.plain)[0]
}
