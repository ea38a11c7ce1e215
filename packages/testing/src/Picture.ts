/**
 * A simulation at a glance: a lane for each machine with the states of its sessions, what it sent as bands, heartbeats and
 * probes as ticks, lost packets in red, faults as shaded regions, and verdicts as marks with the reason in words.
 */
import { describe } from "./internal/wording.ts"
import type { Entry, Packet, SessionFact } from "./Transcript.ts"

/** What to draw. */
export interface Options {
  readonly title?: string | undefined
  /** From and until when, in milliseconds of the world's time. Default: all of it. */
  readonly fromMillis?: number | undefined
  readonly untilMillis?: number | undefined
  /** Default 1400 pixels. */
  readonly width?: number | undefined
}

/** Draws a transcript as an SVG document. */
export const render = (transcript: ReadonlyArray<Entry>, options: Options = {}): string => {
  const until = options.untilMillis ?? Math.max(1, transcript.at(-1)?.at ?? 1)
  const from = options.fromMillis ?? 0
  const frame: Frame = { from, until, width: options.width ?? 1400 }
  const shown = transcript.filter(({ at }) => at >= from && at <= until)
  const hosts = [...new Set(transcript.flatMap(hostsOf))]
  const faults = faultsOf(transcript, frame)
  const drawn: Array<string> = []
  let bottom = headHeight + faults.rows * rowHeight
  for (const host of hosts) {
    const lane = laneOf(host, transcript, shown, frame)
    drawn.push(...lane.draw(bottom))
    bottom += lane.height
  }
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${frame.width}" height="${bottom + axisHeight}" font-family="sans-serif" font-size="11">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    `<text x="${left}" y="16" font-size="14" font-weight="bold">${escape(options.title ?? "")}</text>`,
    ...legend(frame),
    ...faults.draw(bottom),
    ...drawn,
    ...axis(frame, bottom),
    "</svg>",
    ""
  ].join("\n")
}

interface Frame {
  readonly from: number
  readonly until: number
  readonly width: number
}

const x = ({ from, until, width }: Frame, at: number): number =>
  round(left + ((Math.min(Math.max(at, from), until) - from) / (until - from)) * (width - left - right))

// ---- faults

const faultsOf = (transcript: ReadonlyArray<Entry>, frame: Frame) => {
  const begun: Array<{ readonly text: string; readonly at: number; until: number | undefined }> = []
  for (const entry of transcript) {
    if (entry._tag === "Inflicted") begun.push({ text: entry.text, at: entry.at, until: undefined })
    if (entry._tag !== "Healed") continue
    const last = begun.findLast(({ text, until }) => text === entry.text && until === undefined)
    if (last !== undefined) last.until = entry.at
  }
  const rowEnds: Array<number> = []
  const placed = begun.map((fault) => {
    const [x1, x2] = [x(frame, fault.at), x(frame, fault.until ?? fault.at)]
    const end = Math.max(x2, x1 + fault.text.length * glyphWidth + 8)
    let row = rowEnds.findIndex((taken) => taken < x1)
    if (row < 0) row = rowEnds.length
    rowEnds[row] = end
    return { ...fault, x1, x2: Math.max(x2, x1 + 2), row }
  })
  return {
    rows: rowEnds.length,
    draw: (bottom: number) =>
      placed.flatMap(({ row, text, x1, x2 }) => {
        const y = headHeight + row * rowHeight
        return [
          `<rect x="${x1}" y="${y}" width="${round(x2 - x1)}" height="${bottom - y}" fill="#d33" fill-opacity="0.10"/>`,
          `<line x1="${x1}" y1="${y}" x2="${x1}" y2="${bottom}" stroke="#d33" stroke-opacity="0.6"/>`,
          `<text x="${x1 + 3}" y="${y + 11}" fill="#a00">${escape(text)}</text>`
        ]
      })
  }
}

// ---- one machine

interface Lane {
  readonly height: number
  readonly draw: (top: number) => ReadonlyArray<string>
}

const laneOf = (host: string, all: ReadonlyArray<Entry>, shown: ReadonlyArray<Entry>, frame: Frame): Lane => {
  const bars = barsOf(host, all, frame)
  const height = 10 + bars.rows * barHeight
  return {
    height: height + trafficHeight,
    draw: (top) => [
      `<text x="4" y="${top + 22}" font-weight="bold">${escape(host)}</text>`,
      ...bars.draw(top + 10),
      ...traffic(host, shown, frame, top + height + 8),
      ...marks(host, shown, frame, top + height + 46)
    ]
  }
}

interface Stretch {
  readonly fact: SessionFact
  readonly from: number
  readonly to: number
}

/** The states of each session of a machine, from its beginning until it is closed or its machine has lost it. */
const barsOf = (host: string, all: ReadonlyArray<Entry>, frame: Frame) => {
  const sessions = new Map<string, Array<Stretch>>()
  const open = new Map<string, { readonly fact: SessionFact; readonly from: number }>()
  const end = (session: string, to: number) => {
    const state = open.get(session)
    if (state === undefined) return
    open.delete(session)
    if (state.fact.what === "Closed") return
    sessions.set(session, [...(sessions.get(session) ?? []), { ...state, to }])
  }
  for (const entry of all) {
    if (entry._tag === "HostChanged" && entry.host === host && gone.has(entry.to)) {
      for (const session of open.keys()) end(session, entry.at)
    }
    if (entry._tag !== "Session" || entry.host !== host || !(entry.what in colours)) continue
    end(entry.session, entry.at)
    open.set(entry.session, { fact: entry, from: entry.at })
  }
  for (const session of open.keys()) end(session, frame.until)
  const rowEnds: Array<number> = []
  const placed = [...sessions.values()].map((stretches) => {
    const [first, last] = [stretches[0]?.from ?? 0, stretches.at(-1)?.to ?? 0]
    let row = rowEnds.findIndex((taken) => taken <= first)
    if (row < 0) row = rowEnds.length
    rowEnds[row] = last
    return { stretches, row }
  })
  return {
    rows: Math.max(1, rowEnds.length),
    draw: (top: number) =>
      placed.flatMap(({ row, stretches }) => stretches.flatMap((stretch) => bar(stretch, frame, top + row * barHeight)))
  }
}

const bar = ({ fact, from, to }: Stretch, frame: Frame, y: number): ReadonlyArray<string> => {
  const [x1, x2] = [x(frame, from), x(frame, to)]
  if (x2 - x1 < 0.2) return []
  const state = fact.what === "Up" && fact.text.includes(stalled) ? "Stalled" : fact.what
  const words = `${state} ${fact.session}`
  const label = [words, state].find((text) => text.length * barGlyphWidth < x2 - x1)
  const title = `<title>${escape(`${fact.session}: ${fact.what} ${fact.text}`)}</title>`
  return [
    `<rect x="${x1}" y="${y}" width="${round(x2 - x1)}" height="${barHeight - 2}" fill="${colours[state]}">${title}</rect>`,
    ...(label === undefined ? [] : [`<text x="${x1 + 3}" y="${y + 12}">${escape(label)}</text>`])
  ]
}

/** What the machine sent: bytes as a band, small packets as ticks, lost ones in red. */
const traffic = (host: string, shown: ReadonlyArray<Entry>, frame: Frame, y: number): ReadonlyArray<string> => {
  const packets = shown.filter(
    (entry): entry is Packet & { readonly at: number } =>
      entry._tag === "Packet" && entry.from === host && entry.bytes > 0
  )
  const bands = new Map<number, number>()
  const ticks = new Map<number, string>()
  for (const packet of packets) {
    const at = Math.round(x(frame, packet.at))
    const isLost = packet.lostTo !== undefined
    if (packet.bytes > tickBytesMax && !isLost) bands.set(at, (bands.get(at) ?? 0) + packet.bytes)
    else if (isLost || !ticks.has(at)) ticks.set(at, isLost ? "#d00" : "#555")
  }
  const most = Math.max(1, ...bands.values())
  return [
    ...[...bands].map(([at, bytes]) => {
      const height = Math.max(2, round(bandHeight * Math.sqrt(bytes / most)))
      return `<rect x="${at}" y="${round(y + bandHeight - height)}" width="1" height="${height}" fill="#48c"/>`
    }),
    ...[...ticks].map(
      ([at, colour]) =>
        `<line x1="${at}" y1="${y + bandHeight - 8}" x2="${at}" y2="${y + bandHeight}" stroke="${colour}"/>`
    )
  ]
}

/** Questions as dots, ends and verdicts as triangles with their reasons. */
const marks = (host: string, shown: ReadonlyArray<Entry>, frame: Frame, y: number): ReadonlyArray<string> => {
  const rowEnds = Array.from({ length: markRows }, () => 0)
  return shown.flatMap((entry) => {
    if (entry._tag !== "Session" || entry.host !== host) return []
    const at = x(frame, entry.at)
    if (entry.what === "Asked")
      return [`<circle cx="${at}" cy="${y - 7}" r="2.5" fill="#e90"><title>${escape(entry.text)}</title></circle>`]
    if (entry.what !== "Ended" && entry.what !== "Lost" && entry.what !== "Closed") return []
    const colour = entry.what === "Closed" ? "#3a3" : agreed.has(entry.reason ?? "") ? "#777" : "#c00"
    const words = `${entry.reason ?? entry.what}: ${entry.text}`
    const short = words.length > wordsMax ? `${words.slice(0, wordsMax)}…` : words
    const length = short.length * glyphWidth
    const isAtEdge = at + length > frame.width
    const row = rowEnds.findIndex((end) => end < (isAtEdge ? at - length : at))
    const mark = `<path d="M${at} ${y - 4} l4 8 h-8 z" fill="${colour}"><title>${escape(words)}</title></path>`
    if (row < 0) return [mark]
    rowEnds[row] = isAtEdge ? at : at + length + 10
    const place = isAtEdge ? `x="${at - 6}" text-anchor="end"` : `x="${at + 6}"`
    return [mark, `<text ${place} y="${y + 5 + row * 12}" fill="${colour}" font-size="10">${escape(short)}</text>`]
  })
}

// ---- what is what

/** How the marks are to be read, in the upper right corner. */
const legend = ({ width }: Frame): ReadonlyArray<string> => {
  const words: ReadonlyArray<readonly [mark: string, colour: string, text: string]> = [
    ["▮", "#48c", "data"],
    ["|", "#555", "heartbeat, acknowledgement"],
    ["|", "#d00", "lost"],
    ["●", "#e90", "asked"],
    ["▲", "#c00", "link ended"],
    ["■", "#d33", "fault"]
  ]
  const spans = words.map(([mark, colour, text]) => `<tspan fill="${colour}">${mark}</tspan> ${text}`)
  return [`<text x="${width - right}" y="16" text-anchor="end" fill="#666">${spans.join("   ")}</text>`]
}

// ---- time

const axis = (frame: Frame, y: number): ReadonlyArray<string> => {
  const step = stepOf((frame.until - frame.from) / 10)
  const lines: Array<string> = []
  for (let at = Math.ceil(frame.from / step) * step; at <= frame.until; at += step) {
    const here = x(frame, at)
    lines.push(
      `<line x1="${here}" y1="${headHeight}" x2="${here}" y2="${y}" stroke="#000" stroke-opacity="0.08"/>`,
      `<text x="${here}" y="${y + 14}" text-anchor="middle" fill="#666">${describe(at)}</text>`
    )
  }
  return lines
}

const stepOf = (least: number): number =>
  steps.find((step) => step >= least) ?? Math.ceil(least / 3_600_000) * 3_600_000

const hostsOf = (entry: Entry): ReadonlyArray<string> =>
  entry._tag === "Packet" ? [entry.from] : "host" in entry ? [entry.host] : []

const escape = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;")

const round = (value: number): number => Math.round(value * 10) / 10

const colours: Readonly<Record<string, string>> = {
  Connecting: "#fd8",
  Handshaking: "#fb4",
  Up: "#8d8",
  Stalled: "#cc5",
  Waiting: "#ccc",
  Closing: "#9cf",
  Closed: "#eee"
}
const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 3e4, 6e4, 12e4, 3e5, 6e5, 12e5, 18e5, 36e5]
const gone: ReadonlySet<string> = new Set(["crashed", "killed", "stopped"])
/** As a session that is up tells it. */
const stalled = "stalled"
/** Ends that both sides wanted. */
const agreed: ReadonlySet<string> = new Set(["Closed", "EndedByPeer"])
const [left, right, headHeight, rowHeight, barHeight, trafficHeight, axisHeight] = [80, 20, 26, 15, 18, 98, 24]
const [bandHeight, tickBytesMax, glyphWidth, barGlyphWidth, markRows, wordsMax] = [28, 40, 6, 7, 4, 90]
