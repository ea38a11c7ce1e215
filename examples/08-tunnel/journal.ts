/**
 * What the tunnel tells about itself: facts, as lines for people or as JSON for programs.
 */
import { Clock, Context, Effect, Layer } from "effect"

/** One fact. */
export type Happening =
  /** It listens: for the other end of the tunnel (`serve`), or for programs (`dial`). */
  | { readonly event: "ready"; readonly listen: ReadonlyArray<string>; readonly to: ReadonlyArray<string> }
  | { readonly event: "linkUp"; readonly incarnation: number; readonly opened: string }
  | { readonly event: "linkLost"; readonly reason: string; readonly detail: string }
  /** No link, and the next attempt is so far away. */
  | { readonly event: "retrying"; readonly detail: string; readonly inMillis: number }
  | { readonly event: "linkRefused"; readonly from: string; readonly detail: string }
  | { readonly event: "sessionOpened"; readonly session: string }
  | { readonly event: "sessionEnded"; readonly session: string; readonly detail: string }
  | { readonly event: "opened"; readonly connection: number; readonly name: string; readonly from: string }
  | Closed
  /** It accepts nothing new and waits for the connections that are open. */
  | { readonly event: "draining"; readonly connections: number }
  | { readonly event: "stopped"; readonly reset: number }

/** A connection is over. */
export interface Closed {
  readonly event: "closed"
  readonly connection: number
  readonly name: string
  /** `ended`: both directions, in good order; `reset`: one side, or the tunnel, broke it off; `refused`: it never was. */
  readonly how: "ended" | "reset" | "refused"
  readonly detail: string
  /** From the local program into the tunnel, and out of the tunnel to it. */
  readonly bytesIn: number
  readonly bytesOut: number
  readonly millis: number
}

/** A fact and when it was, in wall time (milliseconds). */
export type Event = Happening & { readonly at: number }

/** A terminal, or anything else that takes text. */
export interface Screen {
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
  readonly write: (text: string) => unknown
}

/** Where facts go. */
export class Journal extends Context.Service<
  Journal,
  { readonly tell: (happening: Happening) => Effect.Effect<void> }
>()("tunnel/Journal") {
  /** Writes each fact as the line that `format` makes of it. */
  static readonly layer = (screen: Screen, format: (event: Event) => string): Layer.Layer<Journal> =>
    Layer.succeed(Journal, {
      tell: (happening) =>
        Effect.map(Clock.currentTimeMillis, (at) => {
          screen.write(`${format({ ...happening, at })}\n`)
        })
    })
}

/** One JSON object. */
export const json = (event: Event): string => JSON.stringify(event)

/** For people: `ready` is first on its line, so that scripts can wait for it. */
export const line = (event: Event): string => printable(sentence(event))

const sentence = (event: Event): string => {
  switch (event.event) {
    case "ready":
      return `ready  ${event.listen.join("  ")}  ->  ${event.to.join("  ")}`
    case "linkUp":
      return `link ${event.incarnation} is up (${event.opened})`
    case "linkLost":
      return `link lost (${event.reason}): ${event.detail}`
    case "retrying":
      return `dialling again in ${(event.inMillis / 1000).toFixed(1)} s: ${event.detail}`
    case "linkRefused":
      return `refused ${event.from}: ${event.detail}`
    case "sessionOpened":
      return `tunnel ${event.session.slice(0, 8)} begins`
    case "sessionEnded":
      return `tunnel ${event.session.slice(0, 8)} ended: ${event.detail}`
    case "opened":
      return `#${event.connection} ${event.name} from ${event.from}`
    case "closed":
      return (
        `#${event.connection} ${event.name} ${event.how} after ${(event.millis / 1000).toFixed(1)} s, ` +
        `${event.bytesIn} bytes in, ${event.bytesOut} bytes out${event.detail === "" ? "" : `: ${event.detail}`}`
      )
    case "draining":
      return `draining: ${event.connections} connections are open; a second signal ends them`
    case "stopped":
      return event.reset === 0 ? "stopped" : `stopped, ${event.reset} connections were reset`
  }
}

/** What others say may hold anything, also what would move the cursor. */
const printable = (text: string): string => text.replaceAll(/\p{Cc}/gu, "?")
