// Text of others (data, labels, configs, adapters) must not steer the terminal.

// C0 but line feed and tab, C1, and the marks that turn the direction of text.
const steering = /(?![\n\t])[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu
const style = /^\[\d{1,2}m/

/** `text` with control characters as `\x1b`, `\u202e`; styles of our own stay where the stream shows `styles`. */
export function visible(text: string, styles = false): string {
  return text.replace(steering, (character, at: number) => {
    const isStyle = styles && character === '\x1b' && style.test(text.slice(at + 1, at + 5))
    return isStyle ? character : escapeOf(character)
  })
}

/** A text of others as one line of the same length. */
export function oneLine(text: string): string {
  return text.replace(/[\r\n\u2028\u2029]/g, ' ')
}

function escapeOf(character: string): string {
  const code = character.charCodeAt(0)
  return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`
}
