/**
 * What one side of a session allows itself and the other one.
 */

/** Bounds in bytes. */
export interface Limits {
  /** How much may arrive on channel 0 beyond what the application has taken, whatever comes on others; at least 8. */
  readonly windowBytes: number
  /** The same for each other channel. */
  readonly channelWindowBytes: number
  /** What a window may grow to. */
  readonly windowBytesMax: number
  /** How much all channels together may hold beyond the above. */
  readonly growthBytes: number
  /** How many channels the other side may have open at once. */
  readonly channelsMax: number
  /** The largest message in either direction; both sides must agree on it. */
  readonly messageBytesMax: number
  /** The largest body of a frame. */
  readonly frameBytesMax: number
}
