// Which layers of a decoder see only a window of tokens, as configs of transformers say it.

import { bool, count, type ModelConfig } from '../io/config.ts'

/** A number that may be absent (the fallback) or null (none, 0). */
export function orNone(config: ModelConfig, key: string, fallback: number): number {
  const value = Object.hasOwn(config.values, key) ? config.values[key] : fallback
  if (value === null || value === 0) return 0
  return count(config, key, fallback)
}

/** Kind of layer i: what `layer_types` lists, else what `fallback` says. */
export function layerTypes(config: ModelConfig, fallback: (layer: number) => boolean): (layer: number) => string {
  const { layer_types: listed } = config.values
  if (Array.isArray(listed)) return layer => String(listed[layer])
  return layer => (fallback(layer) ? 'sliding_attention' : 'full_attention')
}

/** Windows of Qwen: off unless `use_sliding_window`, and then from layer `max_window_layers` on. */
export function qwenWindows(config: ModelConfig): (layer: number) => number {
  if (!bool(config, 'use_sliding_window', false)) return () => 0
  const window = orNone(config, 'sliding_window', 4096)
  const typeOf = layerTypes(config, layer => layer >= count(config, 'max_window_layers', 28))
  return layer => (typeOf(layer) === 'sliding_attention' ? window : 0)
}
