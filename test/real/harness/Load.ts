// What is asked of everything whose latency under load is measured: one link that a bulk sender keeps full, and beside it
// the library's own question whether the peer lives, and small messages that come back.

/** The dialling side. Everything goes over one connection. */
export interface Load {
  /** Sends large messages for ever, as fast as the library lets a sender that heeds its back-pressure. */
  readonly bulk: () => void
  /** Milliseconds that the library's own probe takes, there and back; `undefined` if it has none that a program can use. */
  readonly probe: (() => Promise<number>) | undefined
  /** Several probes may be under way at once. */
  readonly probesOverlap: boolean
  /** Milliseconds that a small message takes, there and back. */
  readonly small: () => Promise<number>
}

/** The accepting side. */
export interface Sink {
  /** Bytes of bulk that have arrived. */
  readonly receivedBytes: () => number
}

export interface Contestant {
  readonly serve: (host: string, port: number) => Promise<Sink>
  /** `killed` is called when the connection ends, for whatever reason. */
  readonly dial: (host: string, port: number, killed: (reason: string) => void) => Promise<Load>
}

/** One large message. */
export const bulkBytes = 65_536

/** What may wait in the library's own queue, for those that leave it to the program. */
export const queueBytesMax = 256 * 1024

/** Times what answers by number: `ask` sends the question, `answered` takes the answer. */
export const stopwatch = (ask: (id: number) => void) => {
  const open = new Map<number, (millis: number) => void>()
  let last = 0
  return {
    time: (): Promise<number> =>
      new Promise((resolve) => {
        const id = ++last
        const at = performance.now()
        open.set(id, () => resolve(performance.now() - at))
        ask(id)
      }),
    answered: (id: number): void => {
      open.get(id)?.(0)
      open.delete(id)
    }
  }
}
