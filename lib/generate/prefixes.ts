// Beginnings of texts whose keys and values are kept for others that begin alike: a tree, a page a node. What a page
// holds follows from all tokens up to its last one and from the adapters in use, so that is how it is found.

import { nth } from '../tuple.ts'
import { PAGE, type Pages } from './pages.ts'

/** The beginning of a sequence, in pages; of the last one only what `length` leaves of it. */
export interface Prefix {
  readonly pages: readonly number[]
  readonly length: number
}

interface Node {
  /** Tokens of its page; fewer than a page holds only at the end of a text. */
  ids: readonly number[]
  page: number
  readonly parent: Node | undefined
  readonly children: Node[]
  /** When it was last found or kept. */
  used: number
}

/** What is kept, of every set of adapters; of at most `most` pages, those used last. */
export class Prefixes {
  readonly #pages: Pages
  readonly #most: number
  readonly #roots = new Map<string, Node>()
  #count = 0
  #clock = 0

  constructor(pages: Pages, most: number) {
    this.#pages = pages
    this.#most = most
  }

  /** Pages that it holds. */
  get count(): number {
    return this.#count
  }

  /** The longest kept beginning of `ids`, of at most `limit` tokens; nobody holds its pages for the caller yet. */
  find(key: string, ids: readonly number[], limit: number): Prefix {
    const pages: number[] = []
    let length = 0
    let node = this.#roots.get(key)
    this.#clock++
    while (node && length < limit) {
      const best = longest(node.children, ids, length, limit)
      if (!best) break
      best.node.used = this.#clock
      pages.push(best.node.page)
      length += best.same
      node = best.same === PAGE ? best.node : undefined
    }
    return { pages, length }
  }

  /** Keeps the pages of `ids`, which hold nothing else of these tokens, and forgets what was not used for longest. */
  keep(key: string, ids: readonly number[], pages: readonly number[]): void {
    if (this.#most === 0) return
    let node = this.#roots.get(key) ?? { ids: [], page: -1, parent: undefined, children: [], used: 0 }
    this.#roots.set(key, node)
    this.#clock++
    for (let at = 0; at < ids.length; at += PAGE) {
      const chunk = ids.slice(at, at + PAGE)
      const known = node.children.find(child => startsWith(child.ids, chunk) || startsWith(chunk, child.ids))
      node = known ? this.#extend(known, chunk, nth(pages, at / PAGE)) : this.#add(node, chunk, nth(pages, at / PAGE))
      node.used = this.#clock
    }
    while (this.#count > this.#most) this.#forgetOldest()
  }

  /** Pages have new numbers: what was old[i] is i. */
  renumber(old: readonly number[]): void {
    const numbers = new Map(old.map((page, i) => [page, i]))
    for (const node of this.#nodes()) node.page = numbers.get(node.page) ?? node.page
  }

  #add(parent: Node, ids: readonly number[], page: number): Node {
    const node: Node = { ids, page, parent, children: [], used: this.#clock }
    this.#pages.hold(page)
    this.#count++
    parent.children.push(node)
    return node
  }

  /** Of two pages that begin alike the one with more tokens stays. */
  #extend(node: Node, ids: readonly number[], page: number): Node {
    if (ids.length > node.ids.length) {
      this.#pages.hold(page)
      this.#pages.release(node.page)
      node.ids = ids
      node.page = page
    }
    return node
  }

  /** Ends of texts go first: what stands before them may be the beginning of others. */
  #forgetOldest(): void {
    let oldest: Node | undefined
    for (const node of this.#nodes()) {
      if (node.children.length === 0 && (!oldest || node.used < oldest.used)) oldest = node
    }
    if (!oldest) return
    oldest.parent?.children.splice(oldest.parent.children.indexOf(oldest), 1)
    this.#pages.release(oldest.page)
    this.#count--
  }

  *#nodes(): Generator<Node> {
    const waiting = [...this.#roots.values()].flatMap(({ children }) => children)
    for (let node = waiting.pop(); node; node = waiting.pop()) {
      yield node
      waiting.push(...node.children)
    }
  }
}

/** The node that has most of the tokens from `at` on, and how many. */
function longest(nodes: readonly Node[], ids: readonly number[], at: number, limit: number) {
  let best: { node: Node; same: number } | undefined
  for (const node of nodes) {
    const same = sameTokens(node.ids, ids, at, Math.min(node.ids.length, limit - at))
    if (same > (best?.same ?? 0)) best = { node, same }
  }
  return best
}

function sameTokens(given: readonly number[], ids: readonly number[], at: number, most: number): number {
  let same = 0
  while (same < most && given[same] === ids[at + same]) same++
  return same
}

/** How many tokens two texts begin with alike. */
export function commonLength(a: readonly number[], b: readonly number[]): number {
  return sameTokens(a, b, 0, Math.min(a.length, b.length))
}

const startsWith = (ids: readonly number[], beginning: readonly number[]) =>
  beginning.length <= ids.length && beginning.every((id, i) => id === ids[i])
