import * as assert from 'uvu/assert'
import { type ErrorCode, LowrankError } from '../../lib/errors.ts'

/** What `run` throws has this code, and its message holds these words. */
export function refused(run: () => unknown, code: ErrorCode, ...words: string[]): void {
  let thrown: unknown
  try {
    run()
  } catch (error) {
    thrown = error
  }
  assert.instance(thrown, LowrankError, `expected an error with ${words}`)
  const { code: found, message } = thrown as LowrankError
  assert.is(found, code, message)
  for (const word of words) assert.ok(message.includes(word), `${message}\ndoes not say: ${word}`)
}
