/**
 * Sessions over two links, written down for the test vectors.
 */
import { type Channel, Decoder, Frame, Handshake, Peer } from "@holdfast/protocol"
import { takeAll } from "./Peers.ts"
import { challenge, concat, fromHex, hello, hex } from "./Samples.ts"
import { mac, secret } from "./Secrets.ts"

type Side = "client" | "server"

/** What one side sent on one link at one time: the bytes that arrived, and those behind them that did not. */
export interface Sent {
  readonly link: number
  readonly from: Side
  readonly hex: string
  readonly lost: string
}

/** A client and a server, and what they say, from the first Hello on. */
class Conversation {
  readonly client: Peer.Peer
  readonly server: Peer.Peer
  readonly sent: Array<Sent> = []
  private readonly first: Handshake.Hello
  private decoders: { readonly [side in Side]: Decoder.Decoder }
  private link = 1

  constructor(limits: Peer.Limits) {
    this.client = new Peer.Peer(limits, "client")
    this.server = new Peer.Peer(limits, "server")
    this.decoders = this.newDecoders()
    const { messageBytesMax } = limits
    this.first = { ...hello, messageBytesMax, terms: this.client.offer, session: new Uint8Array(0), epoch: 1 }
    this.log("client", Frame.encode(this.first))
    const { session } = hello
    const terms = this.server.offer
    this.log("server", Frame.encode({ _tag: "Welcome", version: 1, heartbeatMillisMax: 5000, terms, session, secret }))
    this.client.begin(this.server.offer)
    this.server.begin(this.client.offer)
  }

  /** All that a side has to say now arrives, but for some bytes at its end. */
  turn(from: Side, lostBytes = 0): void {
    const bytes = concat(this[from].write(10_000)?.chunks ?? [])
    const arrived = Math.max(0, bytes.length - lostBytes)
    this.decoders[from === "client" ? "server" : "client"].push(bytes.subarray(0, arrived))
    this.log(from, bytes, arrived)
  }

  /** The link breaks, and another one goes on. */
  relink(): void {
    const { client, server } = this
    client.cut()
    server.cut()
    this.link++
    this.decoders = this.newDecoders()
    const { first } = this
    const again = { ...first, session: hello.session, epoch: this.link, nonce: mac(secret, first.nonce) }
    const challenged: Handshake.Challenge = { ...challenge, positions: server.positions() }
    const positions = client.positions()
    const proof = mac(secret, Handshake.proofTranscript(again, challenged, positions))
    const proven: Handshake.Proof = { _tag: "Proof", positions, mac: proof }
    this.log("client", Frame.encode(again))
    this.log("server", Frame.encode(challenged))
    this.log("client", Frame.encode(proven))
    const resumed = mac(secret, Handshake.resumedTranscript(again, challenged, proven))
    this.log("server", Frame.encode({ _tag: "Resumed", mac: resumed }))
    server.resume(positions)
    client.resume(challenged.positions)
  }

  private log(from: Side, bytes: Uint8Array, lostFrom = bytes.length): void {
    const [arrived, lost] = [bytes.subarray(0, lostFrom), bytes.subarray(lostFrom)]
    this.sent.push({ link: this.link, from, hex: hex(arrived), lost: hex(lost) })
  }

  private newDecoders(): { readonly [side in Side]: Decoder.Decoder } {
    return { client: new Decoder.Decoder(65_536, this.client), server: new Decoder.Decoder(65_536, this.server) }
  }
}

const limits: Peer.Limits = {
  windowBytes: 256,
  channelWindowBytes: 64,
  windowBytesMax: 256,
  growthBytes: 0,
  channelsMax: 4,
  messageBytesMax: 1000,
  frameBytesMax: 120
}

/** One session over two links, on channel 0. The first link breaks in the middle of the client's second message. */
export const makeConversation = () => {
  const conversation = new Conversation(limits)
  const { client, sent, server } = conversation
  const fromClient = ["68656c6c6f", "11".repeat(400), "", "627965"]
  const fromServer = ["22".repeat(70), "33"]
  const takeAndTell = (peer: Peer.Peer) => {
    takeAll(peer, peer.main)
    peer.announce()
  }
  for (const message of fromClient) client.send.accept(fromHex(message))
  conversation.turn("client")
  server.send.accept(fromHex(fromServer[0]!))
  server.ping(1)
  takeAndTell(server)
  conversation.turn("server")
  takeAndTell(client)
  conversation.turn("client", 90)
  conversation.relink()

  server.send.accept(fromHex(fromServer[1]!))
  server.send.acceptEnd()
  client.send.acceptEnd()
  conversation.turn("server")
  takeAndTell(client)
  conversation.turn("client")
  server.receive.hand()
  server.receive.reject()
  takeAndTell(server)
  conversation.turn("server")
  conversation.turn("client")
  takeAndTell(server)
  conversation.turn("server")
  client.close({ code: "Normal", epoch: 0, detail: "" })
  conversation.turn("client")
  conversation.turn("server")
  return { sent, fromClient, fromServer, declined: [1] }
}

/**
 * One session with channels over two links. When the first one breaks, the server has not seen channel 5, does not know that
 * 1 is over and 3 is reset.
 */
export const makeChannels = () => {
  const conversation = new Conversation(limits)
  const { client, sent, server } = conversation
  const accept = (peer: Peer.Peer, channel: Channel.Channel, ...messages: ReadonlyArray<string>) => {
    for (const message of messages) channel.send.accept(fromHex(message))
    peer.ready(channel)
  }
  const end = (peer: Peer.Peer, channel: Channel.Channel) => {
    channel.send.acceptEnd()
    peer.ready(channel)
  }
  const take = (peer: Peer.Peer, channel: Channel.Channel) => {
    takeAll(peer, channel)
    peer.announce()
  }

  conversation.turn("client")
  conversation.turn("server")
  const query = client.openChannel("query")!
  const upload = client.openChannel("upload")!
  accept(client, query, "53454c454354")
  end(client, query)
  accept(client, upload, "44".repeat(50), "55".repeat(50)) // more than its window
  conversation.turn("client")
  const [theirQuery] = server.facts().opened
  const events = server.openChannel("events")!
  for (const [i, message] of ["01", "02", "03"].entries()) events.send.enqueue(fromHex(message), i < 2 ? 5 : Infinity)
  events.send.expire(5)
  server.ready(events)
  accept(server, theirQuery!, "726f77")
  end(server, theirQuery!)
  take(server, theirQuery!)
  conversation.turn("server")
  take(client, query)
  const report = client.openChannel("report")!
  accept(client, report, "6f6b")
  client.reset(upload, "Abandoned", "no longer wanted")
  conversation.turn("client", Infinity)
  conversation.relink()

  conversation.turn("server")
  conversation.turn("client")
  const theirReport = server.facts().opened[0]!
  take(server, theirReport)
  const [theirEvents] = client.facts().opened
  take(client, theirEvents!)
  conversation.turn("server")
  conversation.turn("client")
  return {
    sent,
    channels: [
      { channel: 1, name: "query", fromClient: ["53454c454354"], fromServer: ["726f77"], fate: "over" },
      { channel: 2, name: "events", fromClient: [], fromServer: ["03"], skipped: 2, fate: "open" },
      { channel: 3, name: "upload", fromClient: ["44".repeat(50)], fromServer: [], fate: "reset" },
      { channel: 5, name: "report", fromClient: ["6f6b"], fromServer: [], fate: "open" }
    ]
  }
}
