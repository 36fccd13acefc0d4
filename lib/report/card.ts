/**
 * Script of a page about one run: a button that draws its head — title, verdict, key figures, what it had to be better
 * than — as a picture of 1200 × 630 pixels in the colours of the page, and saves it. Nothing leaves the machine.
 */
export const cardScript = `
const header = document.querySelector('header')
if (header?.querySelector('.figures')) {
  const button = document.createElement('button')
  button.type = 'button'
  button.className = 'card'
  button.textContent = 'Save as a picture'
  header.append(button)
  const draw = () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 1200, height: 630 })
    const pen = canvas.getContext('2d'), root = getComputedStyle(document.documentElement)
    const colour = name => root.getPropertyValue('--' + name).trim()
    const fontOf = element => getComputedStyle(element).fontFamily
    const fonts = { sans: fontOf(document.body), serif: fontOf(header.querySelector('h1')) }
    const text = element => element?.textContent.replace(/\\s+/g, ' ').trim() ?? ''
    const write = (line, x, y, size, family, ink, weight = 400) => {
      pen.font = weight + ' ' + size + 'px ' + fonts[family]
      pen.fillStyle = colour(ink)
      pen.fillText(line, x, y)
    }
    const wrap = (words, width, most) => {
      const lines = ['']
      for (const word of words.split(' ')) {
        const longer = (lines.at(-1) + ' ' + word).trim()
        if (pen.measureText(longer).width <= width) lines[lines.length - 1] = longer
        else lines.push(word)
      }
      return lines.length > most ? [...lines.slice(0, most - 1), lines[most - 1] + ' \\u2026'] : lines
    }
    const paragraph = (words, y, size, ink, weight, most) => {
      pen.font = weight + ' ' + size + 'px ' + fonts.serif
      for (const line of wrap(words, 1072, most)) write(line, 64, y += size * 1.25, size, 'serif', ink, weight)
      return y
    }
    pen.fillStyle = colour('paper')
    pen.fillRect(0, 0, 1200, 630)
    write(text(header.querySelector('.kicker')).toUpperCase(), 64, 76, 18, 'sans', 'quiet')
    const y = paragraph(text(header.querySelector('h1')), 92, 54, 'ink', 600, 2)
    paragraph(text(header.querySelector('.verdict')), y + 18, 28, 'soft', 400, 4)
    pen.fillStyle = colour('strong-rule')
    pen.fillRect(64, 440, 1072, 3)
    const figures = [...header.querySelectorAll('.figures div')].slice(0, 5)
    figures.forEach((figure, i) => {
      const x = 64 + 1072 / figures.length * i, value = figure.querySelector('dd').firstChild.textContent
      write(text(figure.querySelector('dt')), x, 478, 18, 'sans', 'quiet')
      write(value, x, 518, 34, 'sans', 'ink', 500)
    })
    const rows = [...document.querySelectorAll('.references tbody tr')]
    write(rows.map(row => text(row.cells[0]) + ': ' + text(row.cells[1])).join('   '), 64, 578, 18, 'sans', 'soft')
    return canvas
  }
  button.addEventListener('click', () => draw().toBlob(blob => {
    const link = Object.assign(document.createElement('a'), { download: 'report.png', href: URL.createObjectURL(blob) })
    link.click()
    setTimeout(() => URL.revokeObjectURL(link.href), 60000)
  }))
}
`
