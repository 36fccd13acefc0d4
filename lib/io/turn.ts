// Long work on the event loop's own thread, cut so that timers and input have their turns meanwhile.

/** Lets the event loop have its turn, timers and input included, between pieces of long work. */
export function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}

/** Work in pieces, each far below {@link SPAN}: yields between them, returns what it comes to. */
export type Pieces<T> = Generator<void, T, void>

/** Milliseconds of work after which it is the event loop's turn; the promise is 35. */
const SPAN = 10

/** Does all of it without a turn. */
export function atOnce<T>(work: Pieces<T>): T {
  for (;;) {
    const { done, value } = work.next()
    if (done) return value
  }
}

/** Does all of it, and gives the event loop its turns. */
export async function inTurns<T>(work: Pieces<T>): Promise<T> {
  const due = turns()
  for (;;) {
    const { done, value } = work.next()
    if (done) return value
    const now = due()
    if (now) await now
  }
}

/** Asked between pieces of work: a turn to wait for where one is due, else undefined. */
export function turns(): () => Promise<void> | undefined {
  let since = performance.now()
  return () => {
    if (performance.now() - since < SPAN) return undefined
    return turn().then(() => {
      since = performance.now()
    })
  }
}
