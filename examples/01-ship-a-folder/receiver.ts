/**
 * The receiving process: writes what arrives into a folder, and answers every message.
 *
 *   node receiver.ts FOLDER
 *
 * It tells on standard output which port the kernel gave it.
 */
import { NodeListener } from "@holdfast/node"
import { Effect, Layer, Logger } from "effect"
import { SocketServer } from "effect/socket"
import type { Session } from "holdfast"
import { Buffer } from "node:buffer"
import { Inbox } from "./folder.ts"
import { type Cargo, decodeCargo, encodeReceipt, type Receipt } from "./message.ts"
import { run, untilTold } from "./parent.ts"
import { tell } from "./reports.ts"
import { policy, report, Shipment, windowBytes } from "./shipment.ts"
import { Tally } from "./tally.ts"

/** Puts one message where it belongs, and says how to answer it. */
const take = Effect.fnUntraced(function* (inbox: Inbox, cargo: Cargo, number: number) {
  const taken: Receipt = { _tag: "Taken", number, answers: cargo.number }
  switch (cargo._tag) {
    case "Round":
      yield* inbox.clear
      return taken
    case "File":
      yield* inbox.begin(cargo.name)
      return taken
    case "Bytes":
      yield* inbox.write(cargo.bytes)
      return taken
    case "FileEnd": {
      const sha256 = yield* inbox.end
      const matched = Buffer.compare(sha256, cargo.sha256) === 0
      const written: Receipt = { _tag: "Written", number, answers: cargo.number, matched, sha256 }
      return written
    }
  }
})

/** Runs once for the session, however often its link changes. */
const receive = (session: Session.Session<Uint8Array, Uint8Array>) =>
  Effect.gen(function* () {
    const inbox = new Inbox(process.argv[2]!)
    const tally = new Tally()
    const out = { messages: 0, bytes: 0 }
    yield* report(session, () => out, tally)
    yield* session.handle((message) =>
      Effect.gen(function* () {
        const cargo = yield* Effect.fromResult(decodeCargo(message))
        tally.note(cargo.number, message.length)
        const receipt = encodeReceipt(yield* take(inbox, cargo, out.messages + 1))
        out.messages++
        out.bytes += receipt.length
        yield* session.send(receipt)
      })
    )
    yield* session.end
    yield* session.flush
    tell({ _tag: "Finished", out, in: tally.counts(), rounds: 0, files: 0, filesMatched: 0 })
  })

const Announce = Layer.effectDiscard(
  Effect.gen(function* () {
    const { address } = yield* SocketServer.SocketServer
    if ("port" in address) tell({ _tag: "Listening", port: address.port })
    yield* Effect.forkScoped(untilTold)
  })
)

const Server = Layer.mergeAll(
  Announce,
  Shipment.serve(receive, { policy, limits: { windowBytes, resumeWindow: "30 seconds" } })
).pipe(Layer.provide(NodeListener.layerTcp({ port: 0 })))

run(Layer.launch(Server).pipe(Effect.provideService(Logger.LogToStderr, true)))
