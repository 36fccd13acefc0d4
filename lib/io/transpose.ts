/** The bytes of a row-major matrix [rows, columns] as those of [columns, rows], whatever the width of an element. */
export function transposedBytes(bytes: Uint8Array, rows: number, columns: number): Uint8Array {
  const width = bytes.length / (rows * columns)
  const out = new Uint8Array(bytes.length)
  if (width === 4 || width === 2) {
    const kind = width === 4 ? Uint32Array : Uint16Array
    const from = new kind(bytes.slice().buffer)
    const to = new kind(out.buffer)
    for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) to[c * rows + r] = from[r * columns + c]!
    return out
  }
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++)
      for (let b = 0; b < width; b++) out[(c * rows + r) * width + b] = bytes[(r * columns + c) * width + b]!
  return out
}
