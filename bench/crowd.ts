/**
 * What holds thousands of connections in one process: each the way its users write it.
 */

/** Both ends of one way to hold many connections over TCP on loopback. */
export interface Crowd {
  /** Gives its port. */
  readonly serve: (options: Serving) => Promise<number>
  /** One more connection, which is there again whenever it was cut. Settles when it is up. */
  readonly connect: (options: Joining) => Promise<Member>
}

export interface Serving {
  /** How often both sides show each other that they live; 0: as it is by default. */
  readonly beatMillis: number
  /** Each message is sent back. */
  readonly isEchoing: boolean
  /** Whoever gets the messages of one more connection; they are valid during the call. */
  readonly onMember: () => (message: Uint8Array) => void
}

export interface Joining {
  readonly port: number
  /** No other one of this process has it. */
  readonly id: number
  readonly beatMillis: number
  readonly onMessage: (message: Uint8Array) => void
}

/** The client's end of one connection. */
export interface Member {
  /** Sends messages, which are copied at once, and settles when there is room for more: at once if there is. */
  readonly send: (messages: ReadonlyArray<Uint8Array>) => Promise<void> | undefined
  /** Ends it for both sides, and settles when that is done. */
  readonly close: () => Promise<void>
}
