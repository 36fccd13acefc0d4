// What happens while files come from the hub, for whoever listens to `diagnostics_channel`.

import { channel, subscribe } from 'node:diagnostics_channel'

/** A message of the channel `lowrank.hub`. */
type HubNews =
  /** A file under way: bytes here and of the whole. */
  | {
      readonly type: 'file'
      readonly id: string
      readonly file: string
      readonly received: number
      readonly size: number
    }
  /** All that was missing of a model is here. */
  | { readonly type: 'done'; readonly id: string; readonly files: number; readonly bytes: number }
  /** Something that the user should know: another process is waited for, or the cache stands in for a lost network. */
  | { readonly type: 'notice'; readonly id: string; readonly text: string }

const HUB_CHANNEL = 'lowrank.hub'

const news = channel(HUB_CHANNEL)

/** Calls the listener with every message from now on. */
export function onHubNews(listener: (message: HubNews) => void): void {
  subscribe(HUB_CHANNEL, message => {
    if (isNews(message)) listener(message)
  })
}

function isNews(message: unknown): message is HubNews {
  return typeof message === 'object' && message !== null && 'type' in message && 'id' in message
}

/** Tells the listeners; a notice that nobody listens to becomes a warning of the process. */
export function tell(message: HubNews): void {
  if (news.hasSubscribers) news.publish(message)
  else if (message.type === 'notice') process.emitWarning(message.text, 'LowrankHubWarning')
}
