/**
 * What was sent and what arrived, told by the programs at both ends and by nobody in between. Each stream is one
 * direction between two memories; its messages are numbered from 0.
 */

/** One complaint of a checker, in words. */
export interface Violation {
  /** Which checker it was. */
  readonly rule: string
  readonly text: string
}

interface Account {
  sent: number
  readonly taken: Array<number>
  readonly unsure: Set<number>
  readonly unsent: Set<number>
  /** How many messages were never sent, as both ends count; `undefined` where an end did not come to count. */
  skipped: { sender: number | undefined; receiver: number | undefined }
  isForgotten: boolean
  isClosed: boolean
}

/** The account of a run. */
export class Ledger {
  private readonly accounts = new Map<string, Account>()

  /** The next message of a stream was accepted for sending. */
  sent(stream: string): void {
    this.account(stream).sent++
  }

  /** A message was taken by the application at the other end. */
  taken(stream: string, number: number): void {
    this.account(stream).taken.push(number)
  }

  /** Messages came back to their sender: those that may have been taken, and those that were never handed to a link. */
  returned(stream: string, unsure: ReadonlyArray<number>, unsent: ReadonlyArray<number>): void {
    const account = this.account(stream)
    for (const number of unsure) account.unsure.add(number)
    for (const number of unsent) account.unsent.add(number)
  }

  /** So many messages were skipped before they were handed to a link, as one end counts. */
  skipped(stream: string, end: "sender" | "receiver", count: number): void {
    this.account(stream).skipped[end] = count
  }

  /** The memory of one end is gone, so messages may be missing, and nobody could say which. */
  forgotten(stream: string): void {
    this.account(stream).isForgotten = true
  }

  /** The sender was told that everything was taken. */
  closed(stream: string): void {
    this.account(stream).isClosed = true
  }

  /** All streams so far. */
  get streams(): ReadonlyArray<string> {
    return [...this.accounts.keys()]
  }

  /** Messages sent and taken over all streams. */
  get totals(): { readonly sent: number; readonly taken: number } {
    const accounts = [...this.accounts.values()]
    return {
      sent: accounts.reduce((sum, { sent }) => sum + sent, 0),
      taken: accounts.reduce((sum, { taken }) => sum + taken.length, 0)
    }
  }

  /** Everything that does not balance. */
  get violations(): ReadonlyArray<Violation> {
    return [...this.accounts].flatMap(([stream, account]) => complaints(stream, account))
  }

  private account(stream: string): Account {
    const present = this.accounts.get(stream)
    if (present !== undefined) return present
    const fresh: Account = {
      sent: 0,
      taken: [],
      unsure: new Set(),
      unsent: new Set(),
      skipped: { sender: undefined, receiver: undefined },
      isForgotten: false,
      isClosed: false
    }
    this.accounts.set(stream, fresh)
    return fresh
  }
}

const complaints = (stream: string, account: Account): ReadonlyArray<Violation> => {
  const { isClosed, isForgotten, sent, skipped, taken, unsent, unsure } = account
  const found: Array<Violation> = []
  const complain = (rule: string, text: string) => found.push({ rule, text: `${stream}: ${text}` })
  const seen = new Set<number>()
  let last = -1
  for (const number of taken) {
    if (seen.has(number)) complain("exactly once", `message ${number} was taken twice`)
    else if (number < last) complain("in order", `message ${number} was taken after ${last}`)
    if (number >= sent) complain("nothing invented", `message ${number} was taken and never sent`)
    if (unsent.has(number)) complain("nothing lost", `message ${number} came back as not sent, and was taken`)
    seen.add(number)
    last = Math.max(last, number)
  }
  const missing: Array<number> = []
  for (let number = 0; number < sent; number++) {
    if (!seen.has(number) && !unsure.has(number) && !unsent.has(number)) missing.push(number)
  }
  const { receiver, sender = receiver ?? 0 } = skipped
  if (missing.length > sender && !isForgotten) complain("nothing lost", `lost without a word: ${ranges(missing)}`)
  if (missing.length > sender && isClosed) complain("close", `closed in good order, and not taken: ${ranges(missing)}`)
  if (receiver !== undefined && (receiver !== sender || (isClosed && missing.length !== sender))) {
    complain("skipped", `${missing.length} are missing, ${sender} were skipped, and the receiver counts ${receiver}`)
  }
  return found
}

/** `3, 7 to 9`. */
const ranges = (numbers: ReadonlyArray<number>): string => {
  const out: Array<[number, number]> = []
  for (const number of numbers) {
    const current = out.at(-1)
    if (current !== undefined && current[1] === number - 1) current[1] = number
    else out.push([number, number])
  }
  return out.map(([from, to]) => (from === to ? String(from) : `${from} to ${to}`)).join(", ")
}
