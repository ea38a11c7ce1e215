/**
 * Bounds what is under way at once, and lets whoever comes when it is full wait in order, or fails it. Keeps nothing
 * itself: what waits is what the callers hold.
 */
import { type Duration, Effect } from "effect"
import * as Socket from "effect/socket/Socket"
import * as ConnectionError from "../ConnectionError.ts"
import * as Patience from "../Patience.ts"
import type { Backlog } from "../Policy.ts"

export interface Gate {
  /** Runs a write once there is room for it. Interrupting one that waits withdraws it. */
  readonly within: (
    count: number,
    bytes: number,
    write: Effect.Effect<void, Socket.SocketError>
  ) => Effect.Effect<void, Socket.SocketError>
}

interface Entry {
  readonly count: number
  readonly bytes: number
  isInside: boolean
  enter: (() => void) | undefined
}

export const makeGate = ({ bytesMax, messagesMax, patience, whenFull }: Backlog): Gate => {
  let messages = 0
  let bytes = 0
  let waiting: Array<Entry> = []

  // What comes alone is let through whatever its size: its caller holds it anyway, and waiting would not make it smaller.
  const hasRoom = (entry: Entry) =>
    messages === 0 || (messages + entry.count <= messagesMax && bytes + entry.bytes <= bytesMax)

  const enter = (entry: Entry) => {
    entry.isInside = true
    messages += entry.count
    bytes += entry.bytes
  }

  const leave = (entry: Entry) => {
    if (entry.isInside) {
      messages -= entry.count
      bytes -= entry.bytes
    } else {
      waiting = waiting.filter((other) => other !== entry)
    }
    for (let next = waiting[0]; next !== undefined && hasRoom(next); next = waiting[0]) {
      waiting.shift()
      enter(next)
      next.enter?.()
    }
  }

  const wait = (entry: Entry) =>
    Effect.callback<void>((resume) => {
      entry.enter = () => resume(Effect.void)
      waiting.push(entry)
    })

  const patiently = (waiting: Effect.Effect<void>, entry: Entry): Effect.Effect<void, Socket.SocketError> =>
    patience === "Infinity"
      ? waiting
      : Patience.within({ patience, onOver: ({ missingFor }) => full(entry, missingFor) })(waiting)

  const full = (entry: Entry, waitedFor?: Duration.Duration) => {
    const reason = new ConnectionError.BacklogExceeded({
      messages: messages + entry.count,
      bytes: bytes + entry.bytes,
      messagesMax,
      bytesMax,
      ...(waitedFor === undefined ? {} : { waitedFor })
    })
    return new Socket.SocketError({ reason: new Socket.SocketWriteError({ cause: ConnectionError.make(reason) }) })
  }

  return {
    within: (count, bytes, write) =>
      Effect.uninterruptibleMask((restore) => {
        const entry: Entry = { count, bytes, isInside: false, enter: undefined }
        if (waiting.length === 0 && hasRoom(entry)) enter(entry)
        else if (whenFull === "fail") return Effect.fail(full(entry))
        return Effect.ensuring(
          restore(entry.isInside ? write : Effect.andThen(patiently(wait(entry), entry), write)),
          Effect.sync(() => leave(entry))
        )
      })
  }
}
