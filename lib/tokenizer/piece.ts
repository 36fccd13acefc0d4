/**
 * Text on its way through a tokenizer, with what each of its UTF-16 units came from: `[starts[i], ends[i])` of the
 * original, or, without those arrays, the unit `base + i` itself. Immutable.
 */
export class Piece {
  readonly text: string
  readonly base: number
  readonly starts: Int32Array | undefined
  readonly ends: Int32Array | undefined

  constructor(text: string, base = 0, starts?: Int32Array, ends?: Int32Array) {
    this.text = text
    this.base = base
    this.starts = starts
    this.ends = ends
  }

  /** The part [from, to) in UTF-16 units; bounds lie between characters. */
  slice(from: number, to: number): Piece {
    if (from === 0 && to === this.text.length) return this
    const text = this.text.slice(from, to)
    if (!this.starts) return new Piece(text, this.base + from)
    return new Piece(text, 0, this.starts.subarray(from, to), this.ends!.subarray(from, to))
  }

  /** Where the character at unit i begins in the original. */
  start(i: number): number {
    return this.starts ? this.starts[i]! : this.base + i
  }

  /** Where the character that ends before unit i ends in the original. */
  end(i: number): number {
    return this.ends ? this.ends[i - 1]! : this.base + i
  }

  /** Another text whose units stand for the same parts of the original, one by one. */
  withText(text: string): Piece {
    return new Piece(text, this.base, this.starts, this.ends)
  }
}

/**
 * Writes a new text out of an old one, character by character, the way the Rust library counts: a character may stand
 * for one of the old text (and some dropped after it), or be an addition, which shares the place of the one before.
 */
export class Rewriter {
  readonly #from: Piece
  #at = 0
  #text = ''
  #starts: Int32Array
  #ends: Int32Array
  #length = 0

  constructor(from: Piece) {
    this.#from = from
    this.#starts = new Int32Array(from.text.length + 16)
    this.#ends = new Int32Array(from.text.length + 16)
  }

  /** Passes over the next `count` characters of the old text. */
  drop(count: number): void {
    for (let i = 0; i < count && this.#at < this.#from.text.length; i++) this.#at += this.#width()
  }

  /** Writes `char` for the next character of the old text, and drops `dropped` more. */
  put(char: string, dropped = 0): void {
    const at = Math.min(this.#at, this.#from.text.length - 1)
    const width = this.#width()
    this.#write(char, at < 0 ? 0 : this.#from.start(at), at < 0 ? 0 : this.#from.end(at + width))
    this.#at += width
    if (dropped > 0) this.drop(dropped)
  }

  /** Writes `char` as an addition. */
  add(char: string): void {
    if (this.#at === 0) this.#write(char, 0, 0)
    else this.#write(char, this.#from.start(this.#at - this.#widthBefore()), this.#from.end(this.#at))
  }

  /** Keeps the next `units` units of the old text as they are. */
  keep(units: number): void {
    const to = this.#at + units
    while (this.#at < to) this.put(String.fromCodePoint(this.#from.text.codePointAt(this.#at)!))
  }

  get piece(): Piece {
    return new Piece(this.#text, 0, this.#starts.subarray(0, this.#length), this.#ends.subarray(0, this.#length))
  }

  #width(): number {
    return (this.#from.text.codePointAt(this.#at) ?? 0) > 0xffff ? 2 : 1
  }

  #widthBefore(): number {
    return this.#at > 1 && this.#from.text.codePointAt(this.#at - 2)! > 0xffff ? 2 : 1
  }

  #write(char: string, start: number, end: number): void {
    if (this.#length + char.length > this.#starts.length) {
      const grow = (old: Int32Array) => {
        const larger = new Int32Array(old.length * 2)
        larger.set(old)
        return larger
      }
      this.#starts = grow(this.#starts)
      this.#ends = grow(this.#ends)
    }
    this.#text += char
    for (let i = 0; i < char.length; i++) {
      this.#starts[this.#length] = start
      this.#ends[this.#length++] = end
    }
  }
}
