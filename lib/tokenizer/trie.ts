import { PairTable } from './pairTable.ts'

/** Entries by their UTF-16 units. */
export class Trie {
  readonly #children = new PairTable()
  readonly #entries: number[] = [-1]

  add(text: string, id: number): void {
    let node = 0
    for (let i = 0; i < text.length; i++) {
      const unit = text.charCodeAt(i)
      let child = this.#children.get(node, unit)
      if (child < 0) {
        child = this.#entries.push(-1) - 1
        this.#children.set(node, unit, child)
      }
      node = child
    }
    this.#entries[node] = id
  }

  /** The node one unit further; −1 without one. */
  child(node: number, unit: number): number {
    return this.#children.get(node, unit)
  }

  /** The entry that ends at a node; −1 without one. */
  entry(node: number): number {
    return this.#entries[node]!
  }
}
