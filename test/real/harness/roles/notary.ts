// The server of a page: gives it its program, and enters each number into a ledger on disk, which outlives the process. What
// the ledger has already is not entered again, since a client whose server forgot its session repeats what is in doubt.
import { NodeRuntime } from "@effect/platform-node"
import { NodeListener } from "@holdfast/node"
import { Effect, Layer } from "effect"
import * as SocketServer from "effect/socket/SocketServer"
import type { Link } from "holdfast"
import { appendFileSync, existsSync, readFileSync } from "node:fs"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { Notes } from "../Notes.ts"
import * as Role from "../Role.ts"

export interface Argument {
  readonly port: number
  readonly ledger: string
  /** The program of the page. */
  readonly script: string
  /** Resets the link after so many numbers, again and again. */
  readonly cutEvery?: number | undefined
}

export type Fact =
  | { readonly _tag: "Listening"; readonly port: number }
  | { readonly _tag: "Entered"; readonly n: number }
  | { readonly _tag: "Repeated"; readonly n: number }

const { cutEvery = Infinity, ledger, port, script } = Role.argument as Argument

const report = (fact: Fact) => Role.report(fact)

const page = "<!doctype html><title>notes</title><script type=module src=/page.js></script>"

const site = Effect.acquireRelease(
  Effect.callback<Server>((resume) => {
    const server = createServer(({ url }, response) =>
      url === "/page.js"
        ? response.writeHead(200, { "content-type": "text/javascript" }).end(readFileSync(script))
        : response.writeHead(200, { "content-type": "text/html" }).end(page)
    )
    server.listen(port, "127.0.0.1", () => resume(Effect.succeed(server)))
  }),
  (server) => Effect.sync(() => server.close())
)

const lines = existsSync(ledger) ? readFileSync(ledger, "utf8").trimEnd().split("\n") : []
let last = lines.length === 0 ? -1 : Number(lines.at(-1))
let taken = 0
let link: Link.Link | undefined

const Serving = Notes.serve((session) =>
  session.handle((n) =>
    Effect.gen(function* () {
      if (n > last) {
        appendFileSync(ledger, `${n}\n`)
        last = n
        report({ _tag: "Entered", n })
      } else report({ _tag: "Repeated", n })
      yield* session.send(n)
      if (++taken % cutEvery === 0) yield* link?.destroy ?? Effect.void
    })
  )
)

const Listening = Layer.effect(
  SocketServer.SocketServer,
  Effect.gen(function* () {
    const http = yield* site
    const server = yield* NodeListener.makeWebSocketUpgrade(http, {
      path: "/live",
      verify: ({ headers }) => Effect.succeed(/^http:\/\/127\.0\.0\.1:\d+$/.test(headers.origin ?? ""))
    })
    report({ _tag: "Listening", port: (http.address() as AddressInfo).port })
    const run: typeof server.run = (handler) =>
      server.run((socket) => {
        link = socket
        return handler(socket)
      })
    return { ...server, run }
  })
)

Layer.launch(Layer.provide(Serving, Listening)).pipe(NodeRuntime.runMain)
