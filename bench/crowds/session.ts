/**
 * Sessions made by hand, with heartbeats on one timer. A client whose connection was cut dials again within half a second.
 */
import { setTimeout as sleep } from "node:timers/promises"
import { wheel } from "../beats.ts"
import { accepting, dial, Session } from "../contestants/session.ts"
import type { Crowd } from "../crowd.ts"
import { listen } from "../sockets.ts"

export const crowd: Crowd = {
  serve: ({ beatMillis, isEchoing, onMember }) => {
    const add = wheel(beatMillis || beatMillisDefault)
    const beats = new Map<Session, () => void>()
    const attend = accepting(
      () => {
        const arrived = onMember()
        const session: Session = new Session((message) => {
          arrived(message)
          if (isEchoing) session.send(message)
        }, ringBytesMax)
        beats.set(session, add(session))
        return session
      },
      (session) => {
        beats.get(session)?.()
        beats.delete(session)
      }
    )
    return listen(attend)
  },

  connect: async ({ beatMillis, id, onMessage, port }) => {
    const session = new Session(onMessage, ringBytesMax)
    const remove = beating(beatMillis || beatMillisDefault)(session)
    const up = async (): Promise<void> => {
      const socket = await dial(session, port, id)
      socket.on("error", () => socket.destroy())
      socket.on("close", () => session.isOver || void again())
    }
    const again = async (): Promise<void> => {
      await sleep(Math.random() * 500)
      await up().catch(again)
    }
    await up()
    return {
      send: (messages) => {
        for (const message of messages) session.send(message)
        return session.hasRoom ? undefined : session.room()
      },
      close: () => {
        remove()
        return session.close()
      }
    }
  }
}

let shared: ReturnType<typeof wheel> | undefined
const beating = (beatMillis: number) => (shared ??= wheel(beatMillis))

/** As often as Holdfast's by default. */
const beatMillisDefault = 2500
const ringBytesMax = 128 * 1024 * 1024
