// Entity tags: which scheme a list of them follows, and all of them as IOB2.

/** IOB1: B only between neighbours of one type; IOB2: B starts every entity; BIOES (BILOU) marks ends and singles. */
export type TagScheme = 'IOB1' | 'IOB2' | 'BIOES' | 'none'

const shape = /^([BIESLU])-(.+)$/s

/**
 * The scheme of tagged sentences: BIOES when E, S, L or U occurs; IOB1 when an I starts an entity; IOB2 when every
 * entity starts with B; 'none' when there are no such tags (part-of-speech tags, for one).
 */
export function detectScheme(sentences: Iterable<readonly string[]>): TagScheme {
  let scheme: TagScheme = 'none'
  for (const tags of sentences) {
    const found = schemeOf(tags)
    if (found === 'BIOES') return found
    if (found === 'IOB1' || scheme === 'none') scheme = found
  }
  return scheme
}

/** One sentence's tags in IOB2, entities as conlleval reads them; tags of other shapes stay as they are. */
export function toIob2(tags: readonly string[]): string[] {
  let type = ''
  let open = false
  return tags.map(tag => {
    const match = shape.exec(tag)
    if (!match) {
      open = false
      return tag
    }
    const [, prefix, found] = match
    const starts = !open || found !== type || prefix === 'B' || prefix === 'S' || prefix === 'U'
    type = found!
    open = prefix === 'B' || prefix === 'I'
    return `${starts ? 'B' : 'I'}-${type}`
  })
}

function schemeOf(tags: readonly string[]): TagScheme {
  let previous = ''
  let scheme: TagScheme = 'none'
  for (const tag of tags) {
    const match = shape.exec(tag)
    const type = match?.[2] ?? ''
    if (match && 'ESLU'.includes(match[1]!)) return 'BIOES'
    if (match?.[1] === 'I' && type !== previous) scheme = 'IOB1'
    else if (match && scheme === 'none') scheme = 'IOB2'
    previous = type
  }
  return scheme
}
