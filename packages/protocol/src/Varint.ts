/**
 * Variable-length integers as in RFC 9000, section 16: the two top bits of the first byte say whether it has 1, 2, 4 or
 * 8 bytes, most significant first. Values are limited to 2^53 - 1, so that they are exact as JavaScript numbers. Any
 * of the four lengths may carry any value that fits.
 */

/** The largest value that the protocol can carry. */
export const valueMax = Number.MAX_SAFE_INTEGER

/** How many bytes the shortest form of `value` needs. */
export const size = (value: number): 1 | 2 | 4 | 8 =>
  value < 0x40 ? 1 : value < 0x4000 ? 2 : value < 0x4000_0000 ? 4 : 8

/** How many bytes the integer that starts with `first` has. */
export const sizeOf = (first: number): number => 1 << (first >> 6)

/** Writes the shortest form of `value` at `at` and returns the position after it. */
export const write = (into: Uint8Array, at: number, value: number): number => {
  switch (size(value)) {
    case 1:
      into[at] = value
      return at + 1
    case 2:
      into[at] = 0x40 | (value >> 8)
      into[at + 1] = value
      return at + 2
    case 4:
      into[at] = 0x80 | (value >> 24)
      into[at + 1] = value >> 16
      into[at + 2] = value >> 8
      into[at + 3] = value
      return at + 4
    case 8: {
      const high = Math.floor(value / 0x1_0000_0000)
      into[at] = 0xc0 | (high >> 24)
      into[at + 1] = high >> 16
      into[at + 2] = high >> 8
      into[at + 3] = high
      into[at + 4] = value >>> 24
      into[at + 5] = value >>> 16
      into[at + 6] = value >>> 8
      into[at + 7] = value
      return at + 8
    }
  }
}

/** Reads the integer at `at`, which must be there whole. More than {@link valueMax} reads as `Infinity`. */
export const read = (from: Uint8Array, at: number): number => {
  const first = from[at]!
  let value = first & 0x3f
  const end = at + sizeOf(first)
  for (let i = at + 1; i < end; i++) value = value * 256 + from[i]!
  return value > valueMax ? Infinity : value
}
