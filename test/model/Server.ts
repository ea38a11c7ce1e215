/**
 * The accepting side, as `packages/holdfast/src/internal/admission.ts` has it: `welcome` and `resume`, and what beginning
 * and end of a link mean to a session. `Peer`, `Decoder` and the frames are the real ones.
 */
import { Decoder, Frame, Handshake, Violation } from "@holdfast/protocol"
import { type Core, type Extent, limits } from "./Core.ts"
import { settled } from "./Client.ts"
import { Party } from "./Party.ts"
import { authenticate, nonceOf, secretOf, sessionOf } from "./Secrets.ts"
import { frozen, Shared } from "./Snapshot.ts"

/** One session of a server: `Member` in `registry.ts`. */
export interface Member {
  readonly session: Uint8Array
  readonly secret: Uint8Array
  readonly party: Shared<Party>
  epoch: number
  /** The link that carries it, 0 if there is none. */
  attached: number
  /** The first input has arrived: the handler runs. */
  isStarted: boolean
}

/** What this side writes on a link. */
export interface Out {
  readonly link: number
  readonly frame: Uint8Array
}

/** One life of the server's process. It keeps the one session that its client may still name: see `World`. */
export class Server {
  life: number
  readonly core: Core
  readonly extent: Extent
  member: Member | undefined
  ends: Array<End> = []
  /** Every message that the applications of earlier lives have taken. */
  takenEver: string
  out: Array<Out> = []
  /** Links that this side has closed. */
  closed: Array<number> = []
  broken: string | undefined

  constructor(core: Core, extent: Extent, life: number, takenEver: string) {
    this.core = core
    this.extent = extent
    this.life = life
    this.takenEver = takenEver
  }

  /** Bytes arrive on a link. */
  receive(link: number, bytes: Uint8Array): void {
    let end = this.ends.find((end) => end.link === link)
    if (end === undefined) {
      end = new End(this, link)
      this.ends.push(end)
      this.ends.sort((a, b) => a.link - b.link)
    }
    const failed = end.decoder.push(bytes)
    if (failed !== undefined) this.broken ??= `the server accuses the client: ${failed.rule}, ${failed.detail}`
    if (end.stage !== "open") return
    const member = this.member!
    if (member.party.isOwn) member.party.own.digest()
    member.isStarted = true
  }

  /** A link is over for this side. */
  lose(link: number): void {
    this.ends = this.ends.filter((end) => end.link !== link)
    if (this.member?.attached !== link) return
    this.member.attached = 0
    this.member.party.own.peer.cut()
  }

  /** The answer of the handshake is written: the link begins to carry its session. */
  attach(link: number): void {
    const end = this.ends.find((end) => end.link === link)!
    const member = this.member!
    if (!this.core.server.mayAttach(end.epoch, member)) return this.close(end)
    end.stage = "open"
    member.attached = link
    member.party.own.peer.announce()
  }

  /** Nobody will name the session again. */
  forget(): void {
    this.member = undefined
    this.ends = []
    this.takenEver = ""
  }

  /** Another process, of which the applications know nothing. */
  restart(): void {
    this.life++
    this.takenEver = this.member?.party.seen.takenEver ?? this.takenEver
    this.member = undefined
    this.ends = []
  }

  /** The writer's turn. There is nothing to write if nothing was done with the party. */
  write(): void {
    if (this.member === undefined || this.member.attached === 0) return
    const { attached: link, party } = this.member
    if (!party.isOwn) return
    for (const frame of party.own.write()) this.out.push({ link, frame })
  }

  say(end: End, frame: Frame.Control): void {
    this.out.push({ link: end.link, frame: Frame.encode(frame) })
  }

  welcome(end: End, hello: Handshake.Hello): void {
    const session = sessionOf(this.life, hello)
    const party = new Party(this.core, "server", this.extent, this.takenEver)
    const secret = secretOf(session)
    this.member = { session, secret, party: new Shared(party), epoch: hello.epoch, attached: 0, isStarted: false }
    party.peer.begin(hello.terms)
    const terms = party.peer.offer
    this.say(end, { _tag: "Welcome", version: 1, heartbeatMillisMax: 0, terms, session, secret })
    end.opening(hello.epoch)
  }

  challenge(end: End, hello: Handshake.Hello): void {
    const member = this.find("Hello", end, hello)
    if (member === undefined) return
    end.hello = frozen(hello)
    end.challenge = frozen<Handshake.Challenge>({
      _tag: "Challenge",
      version: 1,
      heartbeatMillisMax: 0,
      nonce: nonceOf("server", this.life, end.link),
      positions: settled(member.party.own.peer.positions())
    })
    end.stage = "proof"
    this.say(end, end.challenge)
  }

  resume(end: End, proof: Handshake.Proof): Violation.Violation | undefined {
    const hello = end.hello!
    const challenge = end.challenge!
    const proven = authenticate(secretOf(hello.session), Handshake.proofTranscript(hello, challenge, proof.positions))
    if (Buffer.compare(proven, proof.mac) !== 0) return Violation.violation("mac", "the proof does not hold")
    const member = this.find("Proof", end, hello) // another dial may have come between
    if (member === undefined) return undefined
    if (hello.epoch <= member.epoch) {
      this.broken ??= `epoch ${hello.epoch} is accepted after epoch ${member.epoch}`
    }
    member.epoch = hello.epoch
    this.evict(member)
    member.attached = 0
    const party = member.party.own
    party.peer.cut()
    const failed = party.peer.resume(proof.positions)
    if (failed !== undefined) return failed
    party.digest()
    const mac = authenticate(member.secret, Handshake.resumedTranscript(hello, challenge, proof))
    this.say(end, { _tag: "Resumed", mac })
    end.opening(hello.epoch)
    return undefined
  }

  /** The session is there, and this dial is the newest. */
  private find(at: "Hello" | "Proof", end: End, hello: Handshake.Hello): Member | undefined {
    const isTheirs = this.member !== undefined && Buffer.compare(this.member.session, hello.session) === 0
    const member = isTheirs ? this.member : undefined
    const code = this.core.server.judge(at, hello, member)
    if (code === undefined) return member
    this.say(end, { _tag: "Refused", code, retryAfterMillis: 0, epoch: member?.epoch ?? 0, detail: "" })
    this.close(end)
    return undefined
  }

  private evict(member: Member): void {
    const older = this.ends.find((end) => end.link === member.attached)
    if (older === undefined) return
    this.say(older, { _tag: "Close", code: "Fenced", epoch: member.epoch, detail: "" })
    if (this.core.server.isEvictedDeaf) this.close(older)
  }

  private close(end: End): void {
    this.ends = this.ends.filter((other) => other !== end)
    this.closed.push(end.link)
  }
}

/** The server's end of one link. Between the answer of the handshake and `attach` it reads nothing: `opening`. */
export class End implements Decoder.Sink {
  readonly server: Server
  readonly link: number
  stage: "hello" | "proof" | "opening" | "open" = "hello"
  readonly decoder: Decoder.Decoder
  epoch = 0
  hello: Handshake.Hello | undefined
  challenge: Handshake.Challenge | undefined

  constructor(server: Server, link: number) {
    this.server = server
    this.link = link
    this.decoder = new Decoder.Decoder(limits.frameBytesMax, this)
  }

  opening(epoch: number): void {
    this.stage = "opening"
    this.epoch = epoch
    this.hello = undefined
    this.challenge = undefined
  }

  data(channel: number, offset: number, bytes: Uint8Array): Violation.Violation | undefined {
    return this.stage === "open"
      ? this.server.member!.party.own.peer.data(channel, offset, bytes)
      : Violation.violation("frame-order", "Data during the handshake")
  }

  control(frame: Frame.Control): Violation.Violation | undefined {
    if (this.stage === "open") return this.server.member!.party.own.peer.control(frame)
    if (this.stage === "proof") {
      return frame._tag === "Proof"
        ? this.server.resume(this, frame)
        : Violation.violation("frame-order", `${frame._tag} instead of Proof`)
    }
    if (frame._tag !== "Hello") return Violation.violation("frame-order", `${frame._tag} instead of Hello`)
    if (frame.session.length === 0) this.server.welcome(this, frame)
    else this.server.challenge(this, frame)
    return undefined
  }
}
