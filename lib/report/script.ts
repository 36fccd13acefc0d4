import { cardScript } from './card.ts'

/** The only script of a page: read-outs on curves, sorting, searching, a picture. A page is complete without it. */
export const script = `
for (const svg of document.querySelectorAll('svg[data-hover]')) {
  const points = JSON.parse(svg.dataset.hover)
  if (!points.length) continue
  const set = (element, values) => {
    for (const name in values) element.setAttribute(name, values[name])
    return element
  }
  const make = (name, values) => set(document.createElementNS('http://www.w3.org/2000/svg', name), values)
  const line = make('line', { class: 'cross' }), dot = make('circle', { class: 'cross-dot', r: 3.5 })
  const out = document.createElement('output')
  out.className = 'readout'
  const hide = () => { line.remove(); dot.remove(); out.textContent = '' }
  svg.parentElement.append(out)
  svg.addEventListener('pointermove', event => {
    const box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal
    const x = (event.clientX - box.left) / box.width * view.width
    let best = points[0]
    for (const p of points) if (Math.abs(p[0] - x) < Math.abs(best[0] - x)) best = p
    set(line, { x1: best[0], x2: best[0], y1: 12, y2: view.height - 34 })
    set(dot, { cx: best[0], cy: best[1] })
    svg.append(line, dot); out.textContent = svg.dataset.x + ' ' + best[2] + ': ' + best[3]
  })
  svg.addEventListener('pointerleave', hide)
}
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0]
  heads.forEach((head, column) => {
    if (!head.textContent) return
    const button = document.createElement('button')
    button.type = 'button'
    button.append(...head.childNodes)
    head.append(button)
    button.addEventListener('click', () => {
    const down = head.dataset.down = head.dataset.down === '1' ? '0' : '1'
    for (const other of heads) other.removeAttribute('aria-sort')
    head.setAttribute('aria-sort', down === '1' ? 'descending' : 'ascending')
    const value = row => row.cells[column].dataset.value ?? row.cells[column].textContent
    const compare = (a, b) => {
      const n = value(a) - value(b)
      return Number.isNaN(n) ? value(a).localeCompare(value(b)) : n
    }
    body.append(...[...body.rows].sort((a, b) => (down === '1' ? -1 : 1) * compare(a, b)))
    })
  })
}
for (const list of document.querySelectorAll('[data-search]')) {
  const rows = [...list.children]
  if (rows.length < 6) continue
  const input = document.createElement('input')
  input.type = 'search'
  input.className = 'search'
  input.placeholder = list.dataset.search
  input.setAttribute('aria-label', list.dataset.search)
  input.addEventListener('input', () => {
    const wanted = input.value.toLowerCase()
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted)
  })
  const frame = list.closest('.sideways, .tall') ?? list.closest('table') ?? list
  frame.before(input)
}
${cardScript}`
