// Work on a GPU that may go wrong: the failure is the result, and the next one finds a device that works, or is told.

import { messageOf } from '../errors.ts'
import type { Device } from '../tensor.ts'

/** How work on a device went. */
export interface CaseOutcome {
  /** What went wrong. */
  readonly error?: string
  /** The process can't use the device any more: a kernel destroyed its context, or runs for ever. */
  readonly lost?: 'broken' | 'hung'
}

/** Runs work on a device, at most `patience` milliseconds, and forgets the fault that it leaves. */
export async function attempt(device: Device, work: () => Promise<void>, patience = 120_000): Promise<CaseOutcome> {
  const expired = Symbol('expired')
  let timer: NodeJS.Timeout | undefined
  const expiry = new Promise<never>((_, reject) => {
    timer = setTimeout(reject, patience, expired)
  })
  try {
    await Promise.race([work(), expiry])
    return {}
  } catch (error) {
    if (error === expired) return { error: `it runs for more than ${patience / 1000} s`, lost: 'hung' }
    const message = messageOf(error)
    return (await recovers(device)) ? { error: message } : { error: message, lost: 'broken' }
  } finally {
    clearTimeout(timer)
  }
}

/** Forgets a fault. False where it comes back: errors of a kernel's memory accesses are for the whole process. */
async function recovers(device: Device): Promise<boolean> {
  try {
    device.reset()
    await device.synchronize()
    return true
  } catch {
    return false
  }
}
