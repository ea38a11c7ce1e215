/**
 * The sending process: reads a folder and hands it, piece by piece, to a session.
 *
 *   node sender.ts PORT SEED FOLDER
 *
 * It knows nothing of links and faults; that is the point. It ships the folder again and again until a line on its
 * standard input says that it is enough.
 */
import { NodeLink } from "@holdfast/node"
import { Deferred, Effect, Fiber, Logger, Random, Stream } from "effect"
import { Buffer } from "node:buffer"
import { createHash } from "node:crypto"
import type { FolderFile } from "./folder.ts"
import * as Folder from "./folder.ts"
import { type Cargo, decodeReceipt, encodeCargo } from "./message.ts"
import { run, untilTold } from "./parent.ts"
import { tell } from "./reports.ts"
import { policy, report, Shipment, windowBytes } from "./shipment.ts"
import { Tally } from "./tally.ts"

const [port, seed, from] = process.argv.slice(2)

/** `Cargo` without its number, one kind at a time. */
type Unnumbered = Cargo extends infer Kind ? (Kind extends Cargo ? Omit<Kind, "number"> : never) : never

const program = Effect.gen(function* () {
  const session = yield* Shipment
  const folder = yield* Folder.list(from!)
  const enough = yield* Deferred.make<void>()
  yield* Effect.forkScoped(Effect.andThen(untilTold, Deferred.succeed(enough, undefined)))

  const out = { messages: 0, bytes: 0 }
  const tally = new Tally()
  yield* report(session, () => out, tally)

  const send = (cargo: Unnumbered) => {
    const message = encodeCargo({ ...cargo, number: out.messages + 1 })
    out.messages++
    out.bytes += message.length
    return session.send(message)
  }

  /** what was sent under the number of each `FileEnd` that is not yet answered */
  const unanswered = new Map<number, { readonly file: FolderFile; readonly sha256: Uint8Array }>()
  const damaged = new Set<FolderFile>()
  const unwritten = new Set(folder.files)

  const readReceipts = Stream.runForEach(session.messages, (message) =>
    Effect.gen(function* () {
      const receipt = yield* Effect.fromResult(decodeReceipt(message))
      tally.note(receipt.number, message.length)
      const sent = unanswered.get(receipt.answers)
      unanswered.delete(receipt.answers)
      if (receipt._tag === "Taken" || sent === undefined) return
      unwritten.delete(sent.file)
      if (!receipt.matched || Buffer.compare(receipt.sha256, sent.sha256) !== 0) damaged.add(sent.file)
    })
  )

  const shipFile = Effect.fnUntraced(function* (file: FolderFile) {
    const next = yield* Folder.reader(file.path)
    const hash = createHash("sha256")
    yield* send({ _tag: "File", name: file.name })
    while (true) {
      const bytes = yield* next(yield* Random.nextIntBetween(1, pieceBytesMax))
      if (bytes === null) break
      hash.update(bytes)
      yield* send({ _tag: "Bytes", bytes })
    }
    const sha256 = hash.digest()
    unanswered.set(out.messages + 1, { file, sha256 })
    yield* send({ _tag: "FileEnd", sha256 })
  }, Effect.scoped)

  const receipts = yield* Effect.forkChild(readReceipts)
  let rounds = 0
  do {
    rounds++
    yield* send({ _tag: "Round", round: rounds })
    for (const file of folder.files) yield* shipFile(file)
  } while (!(yield* Deferred.isDone(enough)))

  yield* session.end
  yield* Fiber.join(receipts)
  yield* session.close
  const files = folder.files.length
  const filesMatched = folder.files.filter((file) => !damaged.has(file) && !unwritten.has(file)).length
  tell({ _tag: "Finished", out, in: tally.counts(), rounds, files, filesMatched })
}).pipe(Random.withSeed(seed!))

const Client = Shipment.layer({
  link: NodeLink.tcp({ host: "127.0.0.1", port: Number(port) }),
  policy,
  limits: { windowBytes }
})

const pieceBytesMax = 48 * 1024

run(program.pipe(Effect.scoped, Effect.provide(Client), Effect.provideService(Logger.LogToStderr, true)))
