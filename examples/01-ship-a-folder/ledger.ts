/**
 * The account of a run: what was sent and what came out, in both directions, and what was done to the link meanwhile.
 */
import { Record } from "effect"
import { type FaultKind, faultKinds, isLethal } from "./faults.ts"
import type { Detection } from "./harm.ts"
import type { Finished, Sent, TallyCounts } from "./reports.ts"
import { lostOf } from "./tally.ts"

export interface Ledger {
  readonly ok: boolean
  /** why not, in sentences; empty if `ok` */
  readonly faulted: ReadonlyArray<string>
  readonly seed: number
  readonly folder: string
  readonly elapsedMs: number
  /** both directions together, as are `bytes`, `lost`, `duplicated` and `reordered` */
  readonly messages: number
  readonly bytes: number
  readonly lost: number
  readonly duplicated: number
  readonly reordered: number
  readonly toReceiver: Direction
  readonly toSender: Direction
  /** how many times the folder was shipped */
  readonly rounds: number
  readonly files: number
  /** files that arrived with the right SHA-256 in every round */
  readonly filesMatched: number
  /** what is in the folder and is no file, like symbolic links */
  readonly filesSkipped: number
  readonly incarnations: number
  /** incarnations that ended without a fault, or because of a slow reader */
  readonly unprovoked: number
  /** how often each kind struck */
  readonly faults: Readonly<Record<string, number>>
  readonly detections: ReadonlyArray<Detection>
}

export interface Direction {
  readonly sent: number
  readonly received: number
  readonly bytes: number
  readonly lost: number
  readonly duplicated: number
  readonly reordered: number
}

export interface Account {
  readonly seed: number
  readonly folder: string
  readonly elapsedMs: number
  readonly sender: Finished
  readonly receiver: Finished
  readonly filesSkipped: number
  readonly incarnations: number
  readonly unprovoked: number
  readonly detections: ReadonlyArray<Detection>
  /** why the run came to an end before its time */
  readonly failure: string | undefined
}

/** Fewer, and the run has shown nothing. */
export const incarnationsMin = 10

export const make = (account: Account): Ledger => {
  const toReceiver = direction(account.sender.out, account.receiver.in)
  const toSender = direction(account.receiver.out, account.sender.in)
  const { files, filesMatched, rounds } = account.sender
  const faults = Record.fromIterableWith(faultKinds, (kind) => [
    kind,
    account.detections.filter((detection) => detection.fault === kind).length
  ])
  const ledger = {
    seed: account.seed,
    folder: account.folder,
    elapsedMs: account.elapsedMs,
    messages: toReceiver.sent + toSender.sent,
    bytes: account.sender.out.bytes + account.receiver.out.bytes,
    lost: toReceiver.lost + toSender.lost,
    duplicated: toReceiver.duplicated + toSender.duplicated,
    reordered: toReceiver.reordered + toSender.reordered,
    toReceiver,
    toSender,
    rounds,
    files,
    filesMatched,
    filesSkipped: account.filesSkipped,
    incarnations: account.incarnations,
    unprovoked: account.unprovoked,
    faults,
    detections: account.detections
  }
  const faulted = [...(account.failure === undefined ? [] : [account.failure]), ...complaints(ledger)]
  return { ok: faulted.length === 0, faulted, ...ledger }
}

const direction = (out: Sent, counts: TallyCounts): Direction => ({
  sent: out.messages,
  received: counts.received,
  bytes: counts.bytes,
  lost: lostOf(out.messages, counts),
  duplicated: counts.duplicated,
  reordered: counts.reordered
})

const complaints = (ledger: Omit<Ledger, "ok" | "faulted">): ReadonlyArray<string> => {
  const { detections, faults, toReceiver, toSender } = ledger
  const unstruck = faultKinds.filter((kind) => faults[kind] === 0)
  const killed = detections.filter((one) => !isLethal(one.fault) && !one.reason.endsWith("not killed"))
  const unnoticed = detections.filter((one) => isLethal(one.fault) && one.noticedAfterMs === null)
  const found: ReadonlyArray<readonly [wrong: boolean, sentence: string]> = [
    [ledger.lost > 0, `${ledger.lost} messages were lost`],
    [ledger.duplicated > 0, `${ledger.duplicated} messages came twice`],
    [ledger.reordered > 0, `${ledger.reordered} messages came out of order`],
    [
      [toReceiver, toSender].some((one) => one.received - one.duplicated > one.sent),
      "more messages came out than had been sent"
    ],
    [
      ledger.filesMatched < ledger.files,
      `${ledger.files - ledger.filesMatched} files are not what they were when they were sent`
    ],
    [
      ledger.incarnations < incarnationsMin,
      `there were ${ledger.incarnations} incarnations, too few to have shown anything`
    ],
    [unstruck.length > 0, `these faults never struck: ${unstruck.join(", ")}`],
    [killed.length > 0, "a slow reader was killed"],
    [unnoticed.length > 0, `nobody noticed: ${unnoticed.map((one) => one.fault).join(", ")}`]
  ]
  return found.filter(([wrong]) => wrong).map(([, sentence]) => sentence)
}

/** The ledger for people: at most 100 columns. */
export const table = (ledger: Ledger): string => {
  const { toReceiver, toSender } = ledger
  const row = (name: string, ...cells: ReadonlyArray<string | number>) =>
    `  ${name.padEnd(22)}${cells.map((cell) => show(cell).padStart(14)).join("")}`
  const rows = [
    "",
    row("", "to receiver", "to sender"),
    row("messages sent", toReceiver.sent, toSender.sent),
    row("messages received", toReceiver.received, toSender.received),
    row("bytes received", toReceiver.bytes, toSender.bytes),
    row("lost", toReceiver.lost, toSender.lost),
    row("duplicated", toReceiver.duplicated, toSender.duplicated),
    row("reordered", toReceiver.reordered, toSender.reordered),
    "",
    row("files", ledger.files),
    row("files that matched", ledger.filesMatched),
    row("rounds", ledger.rounds),
    row("incarnations", ledger.incarnations),
    row("unprovoked ends", ledger.unprovoked),
    row("seconds", (ledger.elapsedMs / 1000).toFixed(1)),
    "",
    `  ${"fault".padEnd(22)}${"times".padStart(6)}${"worst".padStart(12)}${"bound".padStart(12)}   noticed as`,
    ...faultKinds.map((kind) =>
      faultRow(
        kind,
        ledger.detections.filter((one) => one.fault === kind)
      )
    )
  ]
  const verdict = ledger.ok
    ? "  balanced: nothing was lost, repeated or reordered, and every file is what it was"
    : ledger.faulted.map((sentence) => `  NOT BALANCED: ${sentence}`).join("\n")
  return `${rows.join("\n")}\n\n${verdict}\n`
}

const faultRow = (kind: FaultKind, detections: ReadonlyArray<Detection>): string => {
  const times = detections.flatMap((one) => (one.noticedAfterMs === null ? [] : [one.noticedAfterMs]))
  const worst = times.length === 0 ? "-" : `${Math.max(...times)} ms`
  const bound = detections[0] === undefined ? "-" : `${detections[0].boundMs} ms`
  const reasons = [...new Set(detections.map((one) => one.reason))].join(", ")
  const figures = `${String(detections.length).padStart(6)}${worst.padStart(12)}${bound.padStart(12)}`
  return `  ${kind.padEnd(22)}${figures}   ${reasons}`
}

const show = (cell: string | number): string => (typeof cell === "number" ? cell.toLocaleString("en-US") : cell)
