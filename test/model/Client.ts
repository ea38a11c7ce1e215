/**
 * The dialling side, as `packages/holdfast/src/internal/client.ts` has it: `greet`, `handshake`, `resume`, `surrender`.
 * `Peer`, `Decoder` and the frames are the real ones.
 */
import { Decoder, Frame, Handshake, type Positions, Violation } from "@holdfast/protocol"
import type { Core, Extent } from "./Core.ts"
import { limits } from "./Core.ts"
import { Party } from "./Party.ts"
import { authenticate, nonceOf } from "./Secrets.ts"
import { copy, frozen, Shared } from "./Snapshot.ts"

/** What the client must remember to resume. */
interface Ticket {
  readonly session: Uint8Array
  readonly secret: Uint8Array
}

/** One life of the client's process. */
export class Client implements Decoder.Sink {
  readonly life: number
  readonly core: Core
  readonly extent: Extent
  party: Shared<Party>
  stage: "idle" | "answer" | "resumed" | "up" = "idle"
  /** How many links were dialled; the last one is the link of the moment. */
  link = 0
  epoch = 0
  ticket: Ticket | undefined
  /** Messages of unknown fate that the application was handed back. */
  lost = ""
  /** What this side writes, and the first promise that was broken. */
  out: Array<Uint8Array> = []
  broken: string | undefined
  private decoder: Decoder.Decoder | undefined
  private hello: Handshake.Hello | undefined
  private challenge: Handshake.Challenge | undefined
  private proof: Handshake.Proof | undefined
  private wasUp = true

  constructor(core: Core, extent: Extent, life: number) {
    this.core = core
    this.extent = extent
    this.life = life
    this.party = this.newParty()
  }

  /** Another process, with messages of its own. */
  restart(): void {
    Object.assign(this, new Client(this.core, this.extent, this.life + 1))
  }

  /** A new link, opened by a Hello. */
  dial(): void {
    this.epoch = this.core.client.nextEpoch(this.epoch, this.wasUp)
    this.wasUp = false
    this.link++
    this.stage = "answer"
    this.decoder = new Decoder.Decoder(limits.frameBytesMax, this)
    this.hello = frozen<Handshake.Hello>({
      _tag: "Hello",
      versions: Handshake.versions,
      definition: "model",
      messageBytesMax: limits.messageBytesMax,
      heartbeatMillisMax: 0,
      terms: this.party.seen.peer.offer,
      session: this.ticket?.session ?? new Uint8Array(0),
      epoch: this.epoch,
      nonce: nonceOf("client", this.life, this.link),
      credentials: new Uint8Array(0)
    })
    this.out.push(Frame.encode(this.hello))
  }

  receive(bytes: Uint8Array): void {
    const failed = this.decoder!.push(bytes)
    if (failed !== undefined) this.broken ??= `the client accuses the server: ${failed.rule}, ${failed.detail}`
    if (this.stage === "up" && this.party.isOwn) this.party.own.digest()
  }

  /** The link is over, whether it is or seems so. */
  giveUp(): void {
    if (this.stage === "up") this.party.own.peer.cut()
    this.stage = "idle"
    this.decoder = undefined
    this.hello = undefined
    this.challenge = undefined
    this.proof = undefined
  }

  /** The writer's turn. There is nothing to write if nothing was done with the party. */
  write(): void {
    if (this.stage === "up" && this.party.isOwn) this.out.push(...this.party.own.write())
  }

  data(channel: number, offset: number, bytes: Uint8Array): Violation.Violation | undefined {
    return this.stage === "up"
      ? this.party.own.peer.data(channel, offset, bytes)
      : Violation.violation("frame-order", "Data during the handshake")
  }

  control(frame: Frame.Control): Violation.Violation | undefined {
    if (this.stage === "up") return this.party.own.peer.control(frame)
    if (frame._tag === "Refused") return this.refused(frame)
    if (this.stage === "resumed") return this.resumed(frame)
    if (this.ticket === undefined) return this.welcomed(frame)
    return this.challenged(frame)
  }

  private welcomed(frame: Frame.Control): Violation.Violation | undefined {
    if (frame._tag !== "Welcome") return Violation.violation("frame-order", `${frame._tag} instead of Welcome`)
    const failed = this.party.own.peer.begin(frame.terms)
    this.ticket = frozen({ session: frame.session.slice(), secret: frame.secret.slice() })
    this.up()
    return failed
  }

  private challenged(frame: Frame.Control): Violation.Violation | undefined {
    if (frame._tag !== "Challenge") return Violation.violation("frame-order", `${frame._tag} instead of Challenge`)
    this.challenge = frozen(frame)
    const positions = settled(this.party.own.peer.positions())
    const mac = authenticate(this.ticket!.secret, Handshake.proofTranscript(this.hello!, this.challenge, positions))
    this.proof = frozen<Handshake.Proof>({ _tag: "Proof", positions, mac })
    this.stage = "resumed"
    this.out.push(Frame.encode(this.proof))
    return undefined
  }

  private resumed(frame: Frame.Control): Violation.Violation | undefined {
    if (frame._tag !== "Resumed") return Violation.violation("frame-order", `${frame._tag} instead of Resumed`)
    const mac = authenticate(
      this.ticket!.secret,
      Handshake.resumedTranscript(this.hello!, this.challenge!, this.proof!)
    )
    if (Buffer.compare(mac, frame.mac) !== 0) return Violation.violation("mac", "the server does not know the secret")
    const failed = this.party.own.peer.resume(this.challenge!.positions)
    this.party.own.digest()
    this.up()
    return failed
  }

  /** An incarnation begins: `Incarnation.run`. */
  private up(): void {
    this.stage = "up"
    this.wasUp = true
    this.hello = undefined
    this.challenge = undefined
    this.proof = undefined
    this.party.own.peer.announce()
  }

  /** The server has lost the session: another one begins, with what the application sends again. */
  private refused({ code, epoch }: Handshake.Refused): undefined {
    this.giveUp()
    if (code !== "Unknown") {
      this.broken ??= `the client is refused its own session: ${code}, epoch ${epoch}`
      return
    }
    const earlier = this.party.own
    const { adopted, arrived, kept, sentCount, taken } = earlier.main
    this.lost += kept.fateUnknown
    this.party = this.newParty()
    const party = this.party.own
    const { main } = party
    main.adopted = adopted + arrived.slice(taken.length)
    main.sentCount = sentCount
    party.openedCount = earlier.openedCount
    party.peer.receive.adopt(earlier.peer.receive)
    for (const message of this.core.client.sendAgain(earlier.peer.send.outstanding())) main.accept(message)
    if (earlier.peer.send.ended) main.end()
    this.ticket = undefined
  }

  private newParty(): Shared<Party> {
    return new Shared(new Party(this.core, "client", this.extent))
  }
}

/** Positions as they are at this moment. */
export const settled = (positions: ReadonlyArray<Positions.Positions>): ReadonlyArray<Positions.Positions> =>
  frozen(copy(positions))
