/** Lets the event loop have its turn, timers and input included, between pieces of long work. */
export function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
