/**
 * What a page in a browser knows before any timer: the network is back, somebody looks at the page again. Then every
 * session and connection of the page dials at once if it is waiting, or asks its peer at once if it is up.
 *
 * Nothing has to be done for it: where the platform has such events, clients listen to them for as long as they live.
 * Elsewhere, as on Node, nothing is listened to. Timers alone would be late: those of a hidden tab run once a second or
 * once a minute, and those of a machine that slept not at all.
 *
 * | event | of | taken for |
 * | --- | --- | --- |
 * | `online` | the window or worker | the network is back |
 * | `pageshow` | the window | the page came back out of the back-forward cache |
 * | `visibilitychange` | the document, while it is `visible` | somebody looks at the page again |
 * | `resume` | the document | the page was frozen and goes on |
 *
 * That the network is gone (`offline`) is not believed: browsers are often wrong about it, and a dial tells.
 */
import { Context, Effect, Latch, type Scope } from "effect"

/** Where a page tells what happens to it. */
export interface Page {
  /** The window, or the scope of a worker. */
  readonly window: Pick<EventTarget, "addEventListener" | "removeEventListener">
  /** Workers have none. */
  readonly document?:
    | (Pick<EventTarget, "addEventListener" | "removeEventListener"> & { readonly visibilityState: string })
    | undefined
}

/**
 * The page in which clients run. By default that of the platform, if there is one. Provide `undefined` where clients
 * should not listen:
 *
 * ```ts
 * import { Layer } from "effect"
 * import { PageEvents } from "holdfast"
 *
 * const Deaf = Layer.succeed(PageEvents.CurrentPage, undefined)
 * ```
 */
export const CurrentPage = Context.Reference<Page | undefined>("holdfast/PageEvents/CurrentPage", {
  defaultValue: () => {
    const global: object = globalThis
    const platform: Partial<Page["window"] & Page> = global
    const { addEventListener, document, removeEventListener } = platform
    if (addEventListener === undefined || removeEventListener === undefined) return undefined
    return {
      window: {
        addEventListener: addEventListener.bind(globalThis),
        removeEventListener: removeEventListener.bind(globalThis)
      },
      document
    }
  }
})

/** Runs `wake` each time that the page or its network is back, until the scope closes. */
export const waking = Effect.fnUntraced(function* (
  wake: Effect.Effect<void>
): Effect.fn.Return<void, never, Scope.Scope> {
  const page = yield* CurrentPage
  if (page === undefined) return
  const back = Latch.makeUnsafe(false)
  const onBack = () => void back.openUnsafe()
  const onVisibility = () => {
    if (page.document?.visibilityState === "visible") onBack()
  }
  const listeners = [
    [page.window, "online", onBack],
    [page.window, "pageshow", onBack],
    [page.document, "visibilitychange", onVisibility],
    [page.document, "resume", onBack]
  ] as const
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      for (const [target, event, listener] of listeners) target?.addEventListener(event, listener)
    }),
    () =>
      Effect.sync(() => {
        for (const [target, event, listener] of listeners) target?.removeEventListener(event, listener)
      })
  )
  yield* back.await.pipe(
    Effect.andThen(Effect.sync(() => back.closeUnsafe())),
    Effect.andThen(wake),
    Effect.forever,
    Effect.forkScoped
  )
})
