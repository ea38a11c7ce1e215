/** A WebSocket as a browser has it, whose other side is the test: it opens, drains and closes when it is told to. */
import { Layer } from "effect"
import * as Socket from "effect/socket/Socket"

export class FakeWebSocket extends EventTarget {
  readyState = 0
  bufferedAmount = 0
  binaryType = "blob"
  readonly sent: Array<Uint8Array | string> = []
  readonly closedWith: Array<number | undefined> = []
  readonly url: string
  readonly protocols: unknown

  constructor(url: string, protocols: unknown) {
    super()
    this.url = url
    this.protocols = protocols
  }

  // ---- what the page does

  send(data: string | Uint8Array): void {
    if (this.readyState === 0) throw new Error("InvalidStateError")
    this.bufferedAmount += data.length // also after the end, as the standard says
    if (this.readyState === 1) this.sent.push(data)
  }

  close(code?: number): void {
    this.closedWith.push(code)
    if (this.readyState < 2) this.readyState = 2
  }

  // ---- what the network does

  opens(): void {
    this.readyState = 1
    this.dispatchEvent(new Event("open"))
  }

  says(data: Uint8Array | string): void {
    this.dispatchEvent(
      Object.assign(new Event("message"), { data: typeof data === "string" ? data : data.slice().buffer })
    )
  }

  drains(): void {
    this.bufferedAmount = 0
  }

  breaks(): void {
    this.readyState = 3
    this.dispatchEvent(new Event("error"))
    this.dispatchEvent(Object.assign(new Event("close"), { code: 1006, reason: "" }))
  }

  ends(code: number): void {
    this.readyState = 3
    this.dispatchEvent(Object.assign(new Event("close"), { code, reason: "" }))
  }
}

/** A platform that keeps all WebSockets that it has made. */
export const platform = () => {
  const made: Array<FakeWebSocket> = []
  const layer = Layer.succeed(Socket.WebSocketConstructor, (url: string, protocols: unknown) => {
    const socket = new FakeWebSocket(url, protocols)
    made.push(socket)
    return socket
  })
  return { made, layer, latest: () => made.at(-1)! }
}
