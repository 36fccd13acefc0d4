/** The words of a text in lower case without accents: runs of letters and digits, in order. */
export function words(text: string): string[] {
  const plain = text
    .normalize('NFD')
    .replace(/\p{Mn}/gu, '')
    .toLowerCase()
  return plain.match(/[\p{L}\p{N}]+/gu) ?? []
}

/** The key under which two texts count as the same: their words joined by single spaces. */
export function normalised(text: string): string {
  return words(text).join(' ')
}

/** `text` as one clean line: NFC, plain quotes and dashes, no control characters, single spaces. */
export function cleanLine(text: string): string {
  return text
    .normalize('NFC')
    .replace(/[\u2018\u2019\u201b]/g, "'")
    .replace(/[\u201c\u201d]/g, '"')
    .replace(/\s*(?:\u2014|--+)\s*/g, ' - ')
    .replace(/[\u2010-\u2013]/g, '-')
    .replace(/[\p{Cc}\p{Cf}\ufffd]/gu, ' ')
    .replace(/\s+/g, ' ')
    .trim()
}

/** Cuts prose at sentence ends into pieces of at most `limit` words; a longer sentence is cut between words. */
export function pieces(text: string, limit: number): string[] {
  const out: string[] = []
  let current: string[] = []
  for (const sentence of text.split(/(?<=[.!?]["')]?)\s+(?=["'(]?[A-Z0-9])/)) {
    const tokens = sentence.split(' ')
    if (current.length > 0 && current.length + tokens.length > limit) {
      out.push(current.join(' '))
      current = []
    }
    current.push(...tokens)
    while (current.length > limit) out.push(current.splice(0, limit).join(' '))
  }
  if (current.length > 0) out.push(current.join(' '))
  return out
}
