/** How a link is ended at once: by its own `destroy`, or by a close that is asked for and not waited for. */
import { Effect, type Scope } from "effect"
import * as Socket from "effect/socket/Socket"
import type { Link } from "../Link.ts"

/** Waits for nothing. For sockets that cannot, a close is asked for; the scope is that of the connection. */
export const destroyOf = (link: Link, writer: Socket.Writer, scope: Scope.Scope): Effect.Effect<void> =>
  link.destroy ??
  // A socket that has lost its connection parks the close event for ever, so nobody waits for it.
  writer
    .write(new Socket.CloseEvent(destroyCode, "destroyed"))
    .pipe(Effect.ignoreCause, Effect.forkIn(scope, { startImmediately: true }), Effect.asVoid)

/** A private WebSocket close code, so that the peer does not take it for an orderly end. TCP has no codes. */
export const destroyCode = 4000
