/** Numbers by pairs of numbers, both from 0: a hash table in typed arrays, for merges and tries of 10⁶ entries. */
export class PairTable {
  #keys: Int32Array
  #values: Int32Array
  #count = 0
  #mask: number

  constructor(expected = 16) {
    let size = 32
    while (size < expected * 2) size *= 2
    this.#keys = new Int32Array(size * 2).fill(-1)
    this.#values = new Int32Array(size)
    this.#mask = size - 1
  }

  /** The value of a pair; −1 without one. */
  get(a: number, b: number): number {
    for (let slot = hash(a, b) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const key = this.#keys[2 * slot]!
      if (key === a && this.#keys[2 * slot + 1] === b) return this.#values[slot]!
      if (key === -1) return -1
    }
  }

  set(a: number, b: number, value: number): void {
    if (this.#count * 2 > this.#mask) this.#grow()
    let slot = hash(a, b) & this.#mask
    while (this.#keys[2 * slot] !== -1 && (this.#keys[2 * slot] !== a || this.#keys[2 * slot + 1] !== b))
      slot = (slot + 1) & this.#mask
    if (this.#keys[2 * slot] === -1) this.#count++
    this.#keys[2 * slot] = a
    this.#keys[2 * slot + 1] = b
    this.#values[slot] = value
  }

  #grow(): void {
    const keys = this.#keys
    const values = this.#values
    const size = values.length * 2
    this.#keys = new Int32Array(size * 2).fill(-1)
    this.#values = new Int32Array(size)
    this.#mask = size - 1
    this.#count = 0
    for (let i = 0; i < values.length; i++) if (keys[2 * i] !== -1) this.set(keys[2 * i]!, keys[2 * i + 1]!, values[i]!)
  }
}

function hash(a: number, b: number): number {
  const mixed = Math.imul(a ^ Math.imul(b, 0x85ebca6b), 0x9e3779b1)
  return mixed ^ (mixed >>> 15)
}
