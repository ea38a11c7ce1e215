/**
 * A counterexample as a story: who does what, what arrives, what is said, and what is wrong in the end.
 */
import { Frame, type Positions, Varint } from "@holdfast/protocol"
import type { Counterexample } from "./Explorer.ts"
import type { PartyView, View } from "./Promises.ts"
import type { Piece } from "./Wire.ts"
import { type Action, width, type World } from "./World.ts"

/** One line for each step, then what is wrong, then how both sides stand. */
export const tell = (world: World, { path, why }: Counterexample): string => {
  const lines: Array<string> = []
  let last = path[0]!.state
  for (const { choice, state } of path) {
    last = state
    let at = 0
    world.visit(state, (action) => {
      if (at++ !== choice) return
      lines.push(`${String(lines.length + 1).padStart(4)}. ${tellStep(world, action)}`)
      last = world.next.slice(0, width)
    })
  }
  return [...lines, `   => ${why}`, ...tellState(world, last)].join("\n")
}

const tellStep = (world: World, action: Action): string => {
  const { link, piece, said } = world
  const what = piece === undefined ? "" : ` ${tellPiece(world.wires.pieceOf(piece))}`
  const where = link === 0 ? "" : ` on link ${link}`
  const after = action.endsWith("gets") || action.endsWith("late") || piece === undefined ? "" : " after"
  const answer = said.map((one) =>
    typeof one === "number"
      ? tellFrame(world.wires.frameOf(one))
      : `${tellFrame(world.wires.frameOf(one.frame))}${one.link === link ? "" : ` on link ${one.link}`}`
  )
  return `${action}${after}${what}${where}${answer.length === 0 ? "" : `, says ${answer.join(", ")}`}`
}

const tellPiece = ({ frame, from, to }: Piece): string => {
  const part = from === 0 && to === frame.length ? "" : ` (bytes ${from} to ${to} of ${frame.length})`
  return `${tellFrame(frame)}${part}`
}

const tellFrame = (bytes: Uint8Array): string => {
  const header = 1 + Varint.sizeOf(bytes[1]!)
  if (bytes[0] === Frame.Type.Data) {
    const channel = Varint.read(bytes, header)
    const offset = header + Varint.sizeOf(bytes[header]!)
    const from = Varint.read(bytes, offset)
    const payload = bytes.subarray(offset + Varint.sizeOf(bytes[offset]!))
    const letters = new Set(
      Array.from(payload, (byte) => String.fromCharCode(byte)).filter((one) => /[a-z]/i.test(one))
    )
    return `Data${of(channel)} ${from} to ${from + payload.length}${letters.size === 0 ? "" : ` "${[...letters].join("")}"`}`
  }
  const end = header + Varint.read(bytes, 1) // "Channels" may follow that says nothing
  const frame = Frame.decode(bytes[0]!, bytes.subarray(header, end))
  switch (frame._tag) {
    case "Hello":
      return `Hello (${frame.session.length === 0 ? "a fresh session" : "an earlier session"}, epoch ${frame.epoch})`
    case "Welcome":
      return `Welcome (limit ${frame.terms.limit})`
    case "Challenge":
    case "Proof":
      return `${frame._tag} (${frame.positions.map(tellPositions).join("; ")})`
    case "Refused":
      return `Refused (${frame.code})`
    case "Close":
      return `Close (${frame.code})`
    case "Positions":
      return `Positions${of(frame.channel)} (${tellPositions(frame)})`
    case "Open":
    case "Reset":
    case "ResetDone":
      return `${frame._tag}${of(frame.channel)}`
    case "Channels":
      return `Channels (seen ${frame.seen}, limit ${frame.limit})`
    default:
      return frame._tag
  }
}

const of = (channel: number): string => (channel === 0 ? "" : ` of channel ${channel}`)

const tellPositions = ({ limit, received, rejected, released, taken }: Positions.Positions): string =>
  `received ${received}, taken ${taken}, limit ${limit}, released ${released}${rejected.length === 0 ? "" : `, rejected ${rejected.join(" ")}`}`

const tellState = (world: World, state: Int32Array): ReadonlyArray<string> => {
  const { epoch, link, party: client, stage } = world.client(state)
  const { attached, party: server } = world.server(state)
  return [
    `      client: ${stage}, link ${link}, epoch ${epoch}; ${tellParty(client)}`,
    `      server: ${server === undefined ? "no session" : `${attached === 0 ? "no link" : `link ${attached}`}; ${tellParty(server)}`}`
  ]
}

const tellParty = ({ main, others }: PartyView): string =>
  [tellView(main), ...others.map((view) => `channel ${view.id}: ${view.fate}, ${tellView(view)}`)].join("; ")

const tellView = (view: View): string =>
  `sent "${view.sent}" up to ${view.sentPosition} of ${view.end}, released ${view.released}; ` +
  `received "${view.arrived}" up to ${view.received} of ${view.receiveLimit}, taken "${view.taken}" up to ${view.takenPosition}`
