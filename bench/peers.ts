/**
 * What the contestants made of other people's packages have in common.
 */
import { setImmediate as nextTurn } from "node:timers/promises"
import type { Contestant } from "./contestant.ts"
import { connect, listen } from "./sockets.ts"
import type { Check, Source } from "./workload.ts"

/** How many messages are sent in one turn of the event loop: about 32 KiB, at least 4. */
export const turnOf = (size: number): number => Math.max(4, Math.floor(32_768 / size))

/** Sends one by one, turn by turn; `room` says what to wait for before the next turn. */
export const inTurns = async (
  source: Source,
  send: (message: Buffer) => unknown,
  room: () => Promise<unknown> | undefined = () => undefined
): Promise<void> => {
  const turn = turnOf(source.size)
  while (!source.isOver) {
    for (let i = 0; i < turn; i++) send(source.fresh())
    await (room() ?? nextTurn())
  }
}

/** Sends while no more than `outstandingMax` messages wait for their acknowledgement, and waits for all at the end. */
export const acknowledged = async (
  source: Source,
  send: (message: Buffer, acknowledge: () => void) => unknown
): Promise<void> => {
  const outstandingMax = Math.min(1024, Math.floor(1_048_576 / source.size))
  let outstanding = 0
  let look = (): void => undefined
  const below = (bound: number) =>
    new Promise<void>((resolve) => {
      look = () => {
        if (outstanding < bound) resolve()
      }
      look()
    })
  const acknowledge = () => {
    outstanding--
    look()
  }
  while (!source.isOver) {
    while (outstanding < outstandingMax) {
      outstanding++
      send(source.fresh(), acknowledge)
    }
    await below(outstandingMax)
  }
  await below(1)
}

/** For those whose servers are the ones that stream: the sender listens, and the receiver hears where. */
export const fromServer = (
  /** Sends to whoever connects, and settles when all was handed over. */
  serve: (source: Source) => Promise<{ readonly port: number; readonly done: Promise<void> }>,
  pull: (port: number, check: Check) => Promise<unknown>
): Pick<Contestant, "receive" | "send"> => ({
  receive: (check) => listen((socket) => socket.once("data", (port: Buffer) => void pull(Number(port), check))),
  send: async (port, source) => {
    const socket = await connect(port, () => undefined)
    const served = await serve(source)
    socket.end(String(served.port))
    await served.done
  }
})
