/**
 * Lengths to keep of two texts with `room` tokens for both, longest first: the longer text is cut down to the shorter,
 * then both alike; an odd token left over goes to the longer one, to the second of two equal ones (as in the Rust
 * tokenizers library).
 */
export function truncatePair(first: number, second: number, room: number): [number, number] {
  if (first + second <= room) return [first, second]
  let short = Math.min(first, second)
  let long = Math.max(short, room - short)
  if (short + long > room) {
    short = Math.floor(room / 2)
    long = short + (room % 2)
  }
  return first > second ? [long, short] : [short, long]
}
