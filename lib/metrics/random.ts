/**
 * Uniform integers for resampling: xoshiro128** (Blackman and Vigna 2018), its state filled by splitmix32.
 * Reproducible, not for secrets.
 */
export function resampler(seed: number): (below: number) => number {
  let mix = seed >>> 0
  const splitmix = () => {
    mix = (mix + 0x9e3779b9) >>> 0
    let z = mix
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }
  let [a, b, c, d] = [splitmix(), splitmix(), splitmix(), splitmix()]
  const next = () => {
    const product = Math.imul(b, 5)
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0
    const t = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= t
    d = (d << 11) | (d >>> 21)
    return result
  }
  return below => {
    // The topmost partial interval is rejected, so that no value is favoured.
    const limit = 2 ** 32 - (2 ** 32 % below)
    let value = next()
    while (value >= limit) value = next()
    return value % below
  }
}
