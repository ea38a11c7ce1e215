/**
 * What a person sees while it runs: a few lines drawn again five times a second on a terminal, plain lines elsewhere.
 */
import { Clock, Duration, Effect, Schedule } from "effect"
import type { Detection } from "./harm.ts"
import type { Strike } from "./relay.ts"
import type { Snapshot } from "./reports.ts"

/** What there is to show. Whoever learns something writes it here; only the display reads it. */
export interface View {
  readonly folder: string
  readonly folderBytes: number
  readonly files: number
  sender: Snapshot | undefined
  receiver: Snapshot | undefined
  incarnation: number
  /** the one that is going on */
  strike: Strike | undefined
  readonly detections: Array<Detection>
  calm: boolean
}

export const makeView = (folder: string, files: number, folderBytes: number): View => ({
  folder,
  files,
  folderBytes,
  sender: undefined,
  receiver: undefined,
  incarnation: 0,
  strike: undefined,
  detections: [],
  calm: false
})

export interface Screen {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  readonly write: (text: string) => unknown
}

/** Shows the view for as long as the scope is open, and leaves the screen in order. */
export const show = (view: View, screen: Screen) =>
  screen.isTTY === true ? Effect.forkScoped(live(view, screen)) : Effect.forkScoped(plain(view, screen))

const live = (view: View, screen: Screen) =>
  Effect.gen(function* () {
    const rate = makeRate(view)
    let drawn = 0
    const draw = Effect.map(Clock.currentTimeMillis, (now) => {
      const lines = render(view, rate(now)).map((line) => clip(line, screen.columns || 80))
      screen.write(`${drawn === 0 ? "" : up(drawn)}${lines.map((line) => `${eraseLine}${line}\n`).join("")}`)
      drawn = lines.length
    })
    yield* Effect.acquireRelease(
      Effect.sync(() => screen.write(hideCursor)),
      () => Effect.andThen(draw, () => Effect.sync(() => screen.write(showCursor)))
    )
    yield* Effect.repeat(draw, Schedule.spaced(liveInterval))
  }).pipe(Effect.scoped)

const plain = (view: View, screen: Screen) =>
  Effect.gen(function* () {
    const rate = makeRate(view)
    let told = 0
    let quietTicks = 0
    yield* Effect.gen(function* () {
      const news = view.detections.slice(told).map(detectionLine)
      told = view.detections.length
      quietTicks = news.length > 0 ? 0 : quietTicks + 1
      const speed = rate(yield* Clock.currentTimeMillis)
      if (quietTicks % quietTicksMax === 1) news.push(statusLine(view, speed))
      for (const line of news) screen.write(`${line}\n`)
    }).pipe(Effect.repeat(Schedule.spaced(plainInterval)))
  })

/** The lines of one picture. */
export const render = (view: View, bytesPerSecond: number): ReadonlyArray<string> => {
  const { receiver, sender } = view
  return [
    `Holdfast ships ${view.folder}`,
    `  state          ${sender?.state ?? "starting"}`,
    `  incarnation    ${view.incarnation}`,
    `  round trip     ${milliseconds(sender?.roundTripMs)}`,
    `  throughput     ${megabytes(bytesPerSecond)}/s`,
    `  sent           ${count(sender?.out.messages)} messages, ${megabytes(sender?.out.bytes ?? 0)}`,
    `  received       ${count(receiver?.in.received)} messages, ${megabytes(receiver?.in.bytes ?? 0)}`,
    `  now            ${view.calm ? "no more faults" : strikeLine(view.strike)}`,
    "  last faults",
    ...Array.from({ length: lastFaults }, (_, index) => {
      const detection = view.detections.at(-1 - index)
      return detection === undefined ? "" : `  ${detectionLine(detection)}`
    })
  ]
}

const statusLine = (view: View, bytesPerSecond: number): string =>
  `${view.sender?.state ?? "starting"}, incarnation ${view.incarnation}, ${megabytes(bytesPerSecond)}/s, ` +
  `${count(view.receiver?.in.received)} messages, ${megabytes(view.receiver?.in.bytes ?? 0)} received`

const strikeLine = (strike: Strike | undefined): string =>
  strike === undefined ? "waiting for the next fault" : `${strike.fault.kind} is going on`

export const detectionLine = (detection: Detection): string => {
  const { boundMs, fault, noticedAfterMs, noticedBy, reason } = detection
  const when = noticedAfterMs === null ? "" : ` after ${noticedAfterMs} ms (bound ${boundMs} ms)`
  return `${fault.padEnd(20)} ${reason}${noticedBy === null ? "" : `, by the ${noticedBy}`}${when}`
}

/** Bytes per second at the receiver, over about the last second. */
const makeRate = (view: View) => {
  const points: Array<{ readonly at: number; readonly bytes: number }> = []
  return (now: number): number => {
    points.push({ at: now, bytes: view.receiver?.in.bytes ?? 0 })
    while (points.length > 2 && now - points[1]!.at > rateWindowMs) points.shift()
    const [first, last] = [points[0]!, points[points.length - 1]!]
    return last.at === first.at ? 0 : ((last.bytes - first.bytes) * 1000) / (last.at - first.at)
  }
}

const milliseconds = (value: number | null | undefined): string =>
  value === null || value === undefined ? "-" : `${value.toFixed(1)} ms`
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`
const count = (value: number | undefined): string => (value ?? 0).toLocaleString("en-US")
/** One row each: a folder's name may hold anything, also what would move the cursor. */
const clip = (line: string, columns: number): string => line.replaceAll(/\p{Cc}/gu, "?").slice(0, columns - 1)

const escape = "\u001B["
const hideCursor = `${escape}?25l`
const showCursor = `${escape}?25h`
const eraseLine = `${escape}2K`
const up = (lines: number) => `${escape}${lines}A\r`
const lastFaults = 5
const liveInterval = Duration.millis(200)
const plainInterval = Duration.millis(500)
const quietTicksMax = 10
const rateWindowMs = 1_000
