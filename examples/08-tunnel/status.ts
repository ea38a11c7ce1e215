/**
 * What a person sees on a terminal: facts as they come, and below them a few lines that are drawn again and again.
 */
import { Clock, Context, Duration, Effect, Layer, Schedule, type Scope } from "effect"
import { Connections } from "./connections.ts"
import type { Screen } from "./journal.ts"

/** How the tunnel's links are, in words. Whoever learns it writes it here; only the display reads it. */
export class Status extends Context.Service<Status, { links: string }>()("tunnel/Status") {
  static readonly layer: Layer.Layer<Status> = Layer.sync(Status, () => ({ links: "not yet" }))
}

export interface Display {
  /** Takes the lines of facts. */
  readonly screen: Screen
  /** Draws for as long as the scope is open, and leaves the screen in order. */
  readonly show: Effect.Effect<void, never, Connections | Status | Scope.Scope>
}

/** On a terminal the display is live; elsewhere, and for programs, there are only facts. */
export const on = (screen: Screen, isPlain: boolean): Display => {
  if (isPlain || screen.isTTY !== true) return { screen, show: Effect.void }
  let picture: ReadonlyArray<string> = []
  let drawn = 0
  const erased = () => (drawn === 0 ? "" : `${escape}${drawn}A${escape}0J`)
  const draw = (above: string) => {
    const lines = picture.map((line) => line.slice(0, (screen.columns ?? columnsDefault) - 1))
    screen.write(`${erased()}${above}${lines.map((line) => `${line}\n`).join("")}`)
    drawn = lines.length
  }
  const show = Effect.gen(function* () {
    const connections = yield* Connections
    const status = yield* Status
    const rateOf = makeRate(connections.totals)
    yield* Effect.acquireRelease(
      Effect.sync(() => screen.write(hideCursor)),
      () =>
        Effect.sync(() => {
          picture = []
          draw(showCursor)
        })
    )
    const redraw = Effect.map(Clock.currentTimeMillis, (now) => {
      picture = render(status.links, connections, rateOf(now))
      draw("")
    })
    yield* Effect.forkScoped(Effect.repeat(redraw, Schedule.spaced(interval)))
  })
  return { screen: { ...screen, write: draw }, show }
}

export interface Rate {
  readonly bytesInPerSecond: number
  readonly bytesOutPerSecond: number
}

/** The lines of one picture. */
export const render = (
  links: string,
  { open, totals }: Pick<Connections["Service"], "open" | "totals">,
  { bytesInPerSecond, bytesOutPerSecond }: Rate
): ReadonlyArray<string> => [
  `links        ${links}`,
  `connections  ${open.size} open, ${totals.opened} so far`,
  `in           ${megabytes(totals.bytesIn)}, ${megabytes(bytesInPerSecond)}/s`,
  `out          ${megabytes(totals.bytesOut)}, ${megabytes(bytesOutPerSecond)}/s`
]

/** Bytes per second over about the last second. */
const makeRate = (totals: { readonly bytesIn: number; readonly bytesOut: number }) => {
  const points: Array<{ readonly at: number; readonly bytesIn: number; readonly bytesOut: number }> = []
  return (now: number): Rate => {
    points.push({ at: now, bytesIn: totals.bytesIn, bytesOut: totals.bytesOut })
    while (points.length > 2 && now - points[1]!.at > rateWindowMillis) points.shift()
    const [first, last] = [points[0]!, points[points.length - 1]!]
    const seconds = Math.max(last.at - first.at, 1) / 1000
    return {
      bytesInPerSecond: (last.bytesIn - first.bytesIn) / seconds,
      bytesOutPerSecond: (last.bytesOut - first.bytesOut) / seconds
    }
  }
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`

const escape = "\u001B["
const hideCursor = `${escape}?25l`
const showCursor = `${escape}?25h`
const columnsDefault = 80
const interval = Duration.millis(250)
const rateWindowMillis = 1_000
