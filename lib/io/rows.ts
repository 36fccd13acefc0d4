/**
 * The rows of queries or keys in another order within each head: ggml turns columns 2j and 2j + 1 of a head together
 * where others turn j and j + half. `together` brings them side by side, `apart` undoes it. A row has any bytes.
 */
export function interleave(
  bytes: Uint8Array,
  heads: number,
  rows: number,
  direction: 'together' | 'apart',
): Uint8Array<ArrayBuffer> {
  const [width, dim] = [bytes.byteLength / rows, rows / heads]
  const half = dim / 2
  const out = new Uint8Array(bytes.byteLength)
  for (let row = 0; row < rows; row++) {
    const [first, within] = [row - (row % dim), row % dim]
    const beside = first + 2 * (within % half) + (within < half ? 0 : 1)
    const [from, to] = direction === 'together' ? [row, beside] : [beside, row]
    out.set(bytes.subarray(from * width, (from + 1) * width), to * width)
  }
  return out
}
