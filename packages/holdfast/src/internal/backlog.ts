/**
 * Our direction of a connection: what was accepted and waits for a link, what was handed to one and whose fate is not
 * known, and what was given back and waits for its owner. All of it counts against `policy.backlog`. Plain calls; whoever
 * waits for room is kept as a callback that is called once.
 */
import { type Duration, Effect } from "effect"
import type { FateUnknown, WhenFull } from "../Connection.ts"
import { BacklogExceeded, type ConnectionError, make as connectionError } from "../ConnectionError.ts"
import * as Patience from "../Patience.ts"
import type { Backlog as Limits } from "../Policy.ts"

/** A message of ours. */
export interface Item<out Send> {
  readonly message: Send
  readonly bytes: Uint8Array
  /** Set where somebody waits for its answer: then it is its own matter what becomes of it. */
  readonly request: Request | undefined
  /** Where it ends in the stream of bytes of its link, once it was handed to one. */
  end: number
  /** It was handed to a link at least once, so it may have arrived. */
  isFateUnknown: boolean
}

/** Somebody who waits for an answer. */
export interface Request {
  /** It will not be answered. */
  readonly failed: (error: ConnectionError) => void
  /** Nobody waits any more. */
  isAbandoned: boolean
}

/** A send that waits for room. What is left of it is accepted in order, as room appears. */
interface Sending<Send> {
  readonly items: ReadonlyArray<Item<Send>>
  next: number
  readonly resume: (effect: Effect.Effect<void, ConnectionError>) => void
}

export interface Options<Send> {
  readonly limits: () => Omit<Limits, "whenFull"> & { readonly whenFull: WhenFull }
  readonly fateUnknown: FateUnknown
  /** There is more to send. */
  readonly accepted: () => void
  /** A sender waits: it would help to know what has arrived. */
  readonly full: () => void
  readonly discarded: (count: number, bytes: number) => void
  readonly givenBack: (items: ReadonlyArray<Item<Send>>) => void
  /** What was handed over may all be accounted for now. */
  readonly settled: () => void
}

export class Backlog<Send> {
  /** No more is accepted; what operations fail with. */
  refusing: ConnectionError | undefined
  /** What was handed to the present link and may not have arrived, in order. */
  readonly handed = new Set<Item<Send>>()
  private unsent: Array<Item<Send>> = []
  private sending: Array<Sending<Send>> = []
  private messages = 0
  private bytes = 0
  private readonly options: Options<Send>

  constructor(options: Options<Send>) {
    this.options = options
  }

  get isEmpty(): boolean {
    return this.unsent.length === 0
  }

  /** Nothing is held: everything was handed over, has arrived as far as can be told, or is with its owner again. */
  get isSettled(): boolean {
    return this.messages === 0
  }

  /** Something was handed over of which nobody will tell unless asked. */
  get isFateUnknown(): boolean {
    for (const { request } of this.handed) if (request === undefined) return true
    return false
  }

  get unsettled(): number {
    return this.messages
  }

  get isAwaited(): boolean {
    return this.sending.length > 0
  }

  /** What is left at the end, in order. What was given back is with its owner. */
  get leftovers(): { readonly fateUnknown: ReadonlyArray<Send>; readonly notSent: ReadonlyArray<Send> } {
    const left = [...this.handed, ...this.unsent].filter(({ request }) => request === undefined)
    const messagesOf = (isFateUnknown: boolean) =>
      left.filter((item) => item.isFateUnknown === isFateUnknown).map(({ message }) => message)
    return { fateUnknown: messagesOf(true), notSent: messagesOf(false) }
  }

  /** Accepts messages in order, and waits where there is no room. Interrupting it withdraws those that wait. */
  accept(items: ReadonlyArray<Item<Send>>): Effect.Effect<void, ConnectionError> {
    return Effect.suspend(() => {
      const { patience, whenFull } = this.options.limits()
      const isPrompt = this.sending.length === 0 && this.hasRoom(items.length, sizeOf(items))
      const waiting = this.acceptOrWait(items)
      if (isPrompt || whenFull !== "wait" || patience === "Infinity") return waiting
      const onOver = ({ missingFor }: Patience.Evidence) => this.full(items, missingFor)
      return Patience.within({ patience, onOver })(waiting)
    })
  }

  private acceptOrWait(items: ReadonlyArray<Item<Send>>): Effect.Effect<void, ConnectionError> {
    return Effect.callback<void, ConnectionError>((resume) => {
      if (this.refusing !== undefined) return resume(Effect.fail(this.refusing))
      const sending: Sending<Send> = { items, next: 0, resume }
      const { bytesMax, whenFull } = this.options.limits()
      const isHopeless = items.some(({ bytes }) => bytes.length > bytesMax)
      const hasRoom = this.sending.length === 0 && this.hasRoom(items.length, sizeOf(items))
      if (isHopeless || (whenFull === "fail" && !hasRoom)) return resume(Effect.fail(this.full(items)))
      this.sending.push(sending)
      this.admit()
      if (this.sending.includes(sending)) this.options.full()
      return Effect.sync(() => {
        this.sending = this.sending.filter((other) => other !== sending)
        this.admit() // what came behind it may fit
      })
    })
  }

  /** Takes an item back that is not with the present link. */
  withdraw(item: Item<Send>): boolean {
    const at = this.unsent.indexOf(item)
    if (at === -1) return false
    this.unsent.splice(at, 1)
    this.release([item])
    return true
  }

  /** The next items for the link: at least one, and no more than so many bytes. They are handed over from now on. */
  hand(bytesMax: number): ReadonlyArray<Item<Send>> {
    let count = 0
    for (let bytes = 0; count < this.unsent.length; count++) {
      bytes += this.unsent[count]!.bytes.length
      if (count > 0 && bytes > bytesMax) break
    }
    const items = this.unsent.splice(0, count)
    for (const item of items) {
      item.isFateUnknown = true
      this.handed.add(item)
    }
    return items
  }

  /** All bytes of the link up to here have arrived. */
  arrived(position: number): void {
    const gone: Array<Item<Send>> = []
    for (const item of this.handed) {
      if (item.end > position) break
      if (item.request === undefined) gone.push(item)
    }
    this.settle(gone)
  }

  /** These have arrived, whatever is known of others. */
  settle(items: ReadonlyArray<Item<Send>>): void {
    const gone = items.filter((item) => this.handed.delete(item))
    if (gone.length > 0) this.release(gone)
  }

  /**
   * The link is gone. Messages of unknown fate meet the caller's choice, and it is told how many did. Whoever waits for an
   * answer is told the reason instead, unless the choice is to ask again.
   */
  cut(error: ConnectionError): number {
    const lost = [...this.handed]
    this.handed.clear()
    const choice = this.options.fateUnknown
    const kept: Array<Item<Send>> = []
    const dropped: Array<Item<Send>> = []
    for (const item of lost) {
      const isKept = item.request === undefined || (choice === "sendAgain" && !item.request.isAbandoned)
      ;(isKept ? kept : dropped).push(item)
      if (!isKept) item.request?.failed(error)
    }
    switch (choice) {
      case "sendAgain":
        this.unsent = [...kept, ...this.unsent]
        break
      case "giveBack":
        if (kept.length > 0) this.options.givenBack(kept) // still counted, until its owner takes it
        break
      case "drop":
        dropped.push(...kept)
        break
    }
    if (dropped.length > 0) this.release(dropped)
    return kept.length
  }

  /** Nobody takes answers any more: whoever waits for one is told, and what was asked is no longer held. */
  abandon(error: ConnectionError): void {
    const asked = [...this.handed, ...this.unsent].filter(({ request }) => request !== undefined)
    this.unsent = this.unsent.filter(({ request }) => request === undefined)
    for (const item of asked) {
      this.handed.delete(item)
      item.request?.failed(error)
    }
    if (asked.length > 0) this.release(asked)
  }

  /** They are no longer held. */
  release(items: ReadonlyArray<Item<Send>>): void {
    this.messages -= items.length
    this.bytes -= sizeOf(items)
    this.admit()
    if (this.isSettled) this.options.settled()
  }

  /** No more is accepted. What was accepted still goes. */
  refuse(error: ConnectionError): void {
    this.refusing ??= error
    const refused = this.sending
    this.sending = []
    for (const { resume } of refused) resume(Effect.fail(this.refusing))
  }

  /** The connection is over. */
  fail(error: ConnectionError): void {
    this.refuse(error)
    for (const { request } of [...this.handed, ...this.unsent]) request?.failed(error)
  }

  /** The limits have changed: there may be room, and who may not wait any more is told. */
  policyReplaced(): void {
    this.admit()
    const { bytesMax, whenFull } = this.options.limits()
    const rest = ({ items, next }: Sending<Send>) => items.slice(next)
    const refused = this.sending.filter(
      (sending) => whenFull === "fail" || rest(sending).some(({ bytes }) => bytes.length > bytesMax)
    )
    this.sending = this.sending.filter((sending) => !refused.includes(sending))
    for (const sending of refused) sending.resume(Effect.fail(this.full(rest(sending))))
    this.admit()
  }

  private admit(): void {
    let isAccepted = false
    for (let first = this.sending[0]; first !== undefined; first = this.sending[0]) {
      for (let item = first.items[first.next]; item !== undefined; item = first.items[first.next]) {
        if (!this.makeRoom(item)) break
        first.next++
        this.unsent.push(item)
        this.messages++
        this.bytes += item.bytes.length
        isAccepted = true
      }
      if (first.next < first.items.length) break
      this.sending.shift()
      first.resume(Effect.void)
    }
    if (this.options.limits().whenFull === "dropOldest") this.discard()
    if (isAccepted) this.options.accepted()
  }

  /** Where the oldest are dropped everything is let in first, so that the newest itself goes if nothing else can. */
  private makeRoom({ bytes }: Item<Send>): boolean {
    return this.options.limits().whenFull === "dropOldest" || this.hasRoom(1, bytes.length)
  }

  private discard(): void {
    let count = 0
    let bytes = 0
    for (; count < this.unsent.length && !this.hasRoom(-count, -bytes); count++)
      bytes += this.unsent[count]!.bytes.length
    if (count === 0) return
    const dropped = this.unsent.splice(0, count)
    const error = this.full([])
    this.messages -= count
    this.bytes -= bytes
    for (const { request } of dropped) request?.failed(error)
    this.options.discarded(count, bytes)
  }

  private hasRoom(moreMessages: number, moreBytes: number): boolean {
    const { bytesMax, messagesMax } = this.options.limits()
    return this.messages + moreMessages <= messagesMax && this.bytes + moreBytes <= bytesMax
  }

  private full(items: ReadonlyArray<Item<Send>>, waitedFor?: Duration.Duration): ConnectionError {
    const { bytesMax, messagesMax } = this.options.limits()
    const messages = this.messages + items.length
    const bytes = this.bytes + sizeOf(items)
    return connectionError(
      new BacklogExceeded({
        messages,
        bytes,
        messagesMax,
        bytesMax,
        ...(waitedFor === undefined ? {} : { waitedFor })
      })
    )
  }
}

const sizeOf = (items: ReadonlyArray<Item<unknown>>): number =>
  items.reduce((total, { bytes }) => total + bytes.length, 0)
