/**
 * What the application of one side can do in a state, with each channel.
 */
import type { Line } from "./Line.ts"
import type { Party } from "./Party.ts"

type Using = "sends" | "ends" | "takes" | "declines" | "skips" | "resets"

/** What an application does. */
export type Doing = Using | `${Using} on channel ${number}` | "opens a channel"

/** Something that it can do. Equal keys mean equal acts; they are from 128 to 255. */
export interface Use {
  readonly doing: Doing
  readonly key: number
  readonly act: (party: Party) => void
}

/** All that the application can do now. */
export const usesOf = (party: Party): ReadonlyArray<Use> => {
  const uses: Array<Use> = party.canOpen
    ? [{ doing: "opens a channel", key: opening, act: (party) => party.open() }]
    : []
  const lines = [party.main, ...party.others]
  for (const [index, line] of lines.entries()) {
    const { id } = line.channel
    for (const [at, { act, can, using }] of usings.entries()) {
      if (!can(line)) continue
      const doing: Doing = id === 0 ? using : `${using} on channel ${id}`
      uses.push({ doing, key: 128 + at + usings.length * index, act: (party) => act(party, party.lines[index]!) })
    }
  }
  return uses
}

const opening = 255

const usings: ReadonlyArray<{
  readonly using: Using
  readonly can: (line: Line) => boolean
  readonly act: (party: Party, line: Line) => void
}> = [
  { using: "sends", can: ({ canSend }) => canSend, act: (_, line) => line.send() },
  { using: "ends", can: ({ canEnd }) => canEnd, act: (_, line) => line.end() },
  { using: "takes", can: ({ canTake }) => canTake, act: (party, line) => party.take(line, false) },
  { using: "declines", can: ({ canDecline }) => canDecline, act: (party, line) => party.take(line, true) },
  { using: "skips", can: ({ canSkip }) => canSkip, act: (_, line) => line.skip() },
  { using: "resets", can: ({ canReset }) => canReset, act: (_, line) => line.reset() }
]
