// Characters that equal several others when case is ignored, as ß equals ss.

/** What a character is when case is ignored; several characters for some. */
const fold = (char: string) => char.toUpperCase().toLowerCase()

let known: ReadonlyMap<string, string> | undefined

/** Characters by the several that they equal. */
function folds(): ReadonlyMap<string, string> {
  if (known) return known
  const found = new Map<string, string>()
  for (let c = 0x80; c < 0xd800; c++) add(found, String.fromCharCode(c))
  for (let c = 0xf900; c < 0xfffe; c++) add(found, String.fromCharCode(c))
  known = found
  return found
}

function add(found: Map<string, string>, char: string): void {
  for (const several of [fold(char), char.toLowerCase()]) if ([...several].length > 1) found.set(several, char)
}

/**
 * A character and the several that it equals, one of which stands at the end of a text: Oniguruma takes either for the
 * other, which a matcher of single characters cannot. Undefined where there is none.
 */
export function foldAtEnd(text: string): readonly [one: string, several: string] | undefined {
  const chars = [...text]
  const last = chars.at(-1) ?? ''
  for (const several of [fold(last), last.toLowerCase()]) if (folds().has(several)) return [last, several]
  for (const length of [2, 3]) {
    const several = chars.slice(-length).join('').toLowerCase()
    const one = chars.length >= length ? folds().get(several) : undefined
    if (one !== undefined) return [one, several]
  }
  return undefined
}
