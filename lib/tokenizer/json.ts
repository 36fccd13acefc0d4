import { isRecord } from '../options.ts'
// What is read from JSON, before anybody knows what it is.

/** A parsed JSON object. */
export type Json = Readonly<Record<string, unknown>>

/** `value` as a JSON object, or undefined. */
export function asObject(value: unknown): Json | undefined {
  return isRecord(value) ? value : undefined
}

/** Items of `value`, or none when it is not an array. */
export function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}
