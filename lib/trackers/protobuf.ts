// The part of the protocol-buffer wire format that event files need. Each function encodes one whole field.

import { nth } from '../tuple.ts'

type Bytes = Uint8Array

function varint(value: number | bigint): number[] {
  const out: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  while (rest > 127n) {
    out.push(Number(rest & 127n) | 128)
    rest >>= 7n
  }
  out.push(Number(rest))
  return out
}

function key(field: number, wireType: number): number[] {
  return varint((field << 3) | wireType)
}

/** int32, int64, enum or bool. */
export function integerField(field: number, value: number | bigint): Bytes {
  return Uint8Array.from([...key(field, 0), ...varint(value)])
}

export function doubleField(field: number, value: number): Bytes {
  return concat(
    Uint8Array.from(key(field, 1)),
    new Uint8Array(littleEndian(8, view => view.setFloat64(0, value, true))),
  )
}

/** Bytes, an embedded message, or packed numbers. */
export function bytesField(field: number, ...parts: readonly Bytes[]): Bytes {
  const body = concat(...parts)
  return concat(Uint8Array.from([...key(field, 2), ...varint(body.length)]), body)
}

export function stringField(field: number, text: string): Bytes {
  return bytesField(field, Buffer.from(text, 'utf8'))
}

export function packedFloats(field: number, values: ArrayLike<number>): Bytes {
  const body = littleEndian(4 * values.length, view => {
    for (let i = 0; i < values.length; i++) view.setFloat32(4 * i, nth(values, i), true)
  })
  return bytesField(field, new Uint8Array(body))
}

export function packedDoubles(field: number, values: ArrayLike<number>): Bytes {
  const body = littleEndian(8 * values.length, view => {
    for (let i = 0; i < values.length; i++) view.setFloat64(8 * i, nth(values, i), true)
  })
  return bytesField(field, new Uint8Array(body))
}

export function concat(...parts: readonly Bytes[]): Bytes {
  return Buffer.concat(parts)
}

/** A buffer of `size` bytes that `fill` has written through a view. */
export function littleEndian(size: number, fill: (view: DataView) => void): ArrayBuffer {
  const buffer = new ArrayBuffer(size)
  fill(new DataView(buffer))
  return buffer
}
