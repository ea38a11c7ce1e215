/**
 * The main job: ships a folder from one process to another through a relay that does harm, and gives an account.
 *
 *   npm start -- --from DIR --seed N --seconds S --json
 *
 * This process holds the relay, the plan and the display; the sender and the receiver are its children.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Clock, Data, Deferred, Effect, Exit, Fiber, Queue, Runtime, Stream } from "effect"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import * as Child from "./child.ts"
import * as Display from "./display.ts"
import { spacingBytesFor } from "./faults.ts"
import * as Folder from "./folder.ts"
import * as Harm from "./harm.ts"
import * as Ledger from "./ledger.ts"
import * as Options from "./options.ts"
import * as Relay from "./relay.ts"
import type { Finished, Report, Side, Snapshot } from "./reports.ts"
import { boundMs } from "./shipment.ts"

class NotBalanced extends Data.TaggedError("NotBalanced") {
  override readonly [Runtime.errorExitCode] = 1
}

/** Two processes, a relay between them and its plan: everything from the first byte to the account. */
const ship = Effect.fnUntraced(function* (options: Options.Options) {
  const started = yield* Clock.currentTimeMillis
  const folder = yield* Folder.list(options.from)
  if (folder.files.length === 0) {
    return yield* new Options.UsageError({ message: `--from: there is no file in ${options.from}. Try --help.` })
  }
  const view = Display.makeView(options.from, folder.files.length, folder.bytes)
  const sightings = yield* Queue.unbounded<Harm.Seen>()
  const finished: { sender?: Finished; receiver?: Finished } = {}
  let unprovoked = 0

  const listening = yield* Deferred.make<number>()
  yield* Display.show(view, process.stdout)

  const watch = (side: Side, child: Child.Child) =>
    Stream.runForEachWhile(child.reports, (report: Report) =>
      Effect.sync(() => {
        if (report._tag === "Listening") Deferred.doneUnsafe(listening, Exit.succeed(report.port))
        if (report._tag === "Snapshot") view[side] = report
        if (report._tag === "Finished") finished[side] = report
        if (report._tag === "Sighting") {
          if (side === "sender") view.incarnation = Math.max(view.incarnation, report.incarnation)
          Queue.offerUnsafe(sightings, { ...report, side })
        }
        return report._tag !== "Finished"
      })
    )

  const harm = Effect.fnUntraced(function* (relay: Relay.Relay, receiver: Child.Child) {
    const outcome = yield* Harm.carryOut({
      relay,
      seed: options.seed,
      seconds: options.seconds,
      spacingBytes: spacingBytesFor(folder.bytes),
      boundMs,
      sightings,
      freeze: receiver.freeze,
      onStrike: (strike) => {
        view.strike = strike
      },
      onDetection: (detection) => {
        view.strike = undefined
        view.detections.push(detection)
      }
    })
    unprovoked = outcome.unprovoked
    view.calm = true
    yield* relay.unlimit
  })

  const failure = yield* Effect.gen(function* () {
    const receiver = yield* Child.start("receiver", [yield* temporaryFolder])
    const ending = yield* Effect.forkChild(watch("receiver", receiver))
    const port = yield* Effect.raceFirst(Deferred.await(listening), Effect.andThen(Fiber.join(ending), Effect.never))
    const relay = yield* Relay.make({ targetPort: port, bytesPerSecond })
    const sender = yield* Child.start("sender", [String(relay.port), String(options.seed), options.from])
    const harmed = Effect.andThen(harm(relay, receiver), sender.enough)
    yield* Effect.all([harmed, watch("sender", sender), Fiber.join(ending)], { concurrency: 3, discard: true })
  }).pipe(
    Effect.as(undefined),
    Effect.catchTag("ChildError", (error) => Effect.succeed(error.message))
  )
  return Ledger.make({
    seed: options.seed,
    folder: options.from,
    elapsedMs: (yield* Clock.currentTimeMillis) - started,
    sender: finished.sender ?? unfinished(view.sender, folder.files.length),
    receiver: finished.receiver ?? unfinished(view.receiver, 0),
    filesSkipped: folder.skipped,
    incarnations: view.incarnation,
    unprovoked,
    detections: view.detections,
    failure
  })
}, Effect.scoped)

/** What is known of a process that broke off. */
const unfinished = (last: Snapshot | undefined, files: number): Finished => ({
  _tag: "Finished",
  out: last?.out ?? { messages: 0, bytes: 0 },
  in: last?.in ?? { received: 0, bytes: 0, duplicated: 0, reordered: 0 },
  rounds: 0,
  files,
  filesMatched: 0
})

const temporaryFolder = Effect.acquireRelease(
  Effect.promise(() => mkdtemp(join(tmpdir(), "holdfast-ship-"))),
  (path) => Effect.promise(() => rm(path, { recursive: true, force: true }))
)

const bytesPerSecond = 1_000_000

const main = Effect.gen(function* () {
  const options = yield* Options.parse(process.argv.slice(2))
  if (options === undefined) return console.log(Options.help)
  const ledger = yield* ship(options)
  console.log(Ledger.table(ledger))
  if (options.json) console.log(JSON.stringify(ledger))
  if (!ledger.ok) return yield* new NotBalanced()
})

main.pipe(
  Effect.provide(NodeServices.layer),
  Effect.tapCause((cause) =>
    Effect.sync(() => {
      const error = Cause.squash(cause)
      if (!Cause.hasInterruptsOnly(cause) && !(error instanceof NotBalanced)) {
        console.error(error instanceof Error ? error.message : String(error))
      }
    })
  ),
  (effect) => NodeRuntime.runMain(effect, { disableErrorReporting: true })
)
