/**
 * The sessions of a server: who is in, and whether there is room for one more.
 */
import { Duration, Effect, type Fiber, Latch, Option } from "effect"
import type { ServerLimits } from "../Session.ts"
import type { Conversation } from "./conversation.ts"
import { serverDefaults } from "./limits.ts"
import type { Budget } from "./backlogLimits.ts"

/** One session of a server. */
export interface Member {
  readonly id: string
  readonly secret: Uint8Array
  readonly principal: string
  readonly address: Option.Option<string>
  readonly conversation: Conversation
  /** The epoch of the dial that holds it. */
  epoch: number
  /** Of the latest link that carried it. */
  incarnation: number
  /** Started by the first input. */
  handler: Fiber.Fiber<void> | undefined
  /** Sleeps while there is no link, and ends the session then. */
  expiry: Fiber.Fiber<void> | undefined
}

/** Bounds with their defaults. */
export interface Limits {
  readonly resumeWindow: Duration.Duration
  readonly sessionsMax: number
  readonly sessionsPerPrincipalMax: number
  readonly sessionsPerAddressMax: number
  readonly handshakesMax: number
  readonly handshakesPerAddressMax: number
  readonly bytesMax: number
  readonly retryAfter: Duration.Duration
  readonly goAwaySpread: Duration.Duration
}

export class Registry {
  readonly limits: Limits
  readonly members = new Map<string, Member>()
  isDraining = false
  /** Open while no link carries a session. */
  readonly idle = Latch.makeUnsafe(true)
  private handshakes = 0
  private readonly handshakesPerAddress = new Map<string, number>()
  private linksUp = 0
  private heldBytes = 0
  private readonly waitingForBytes = new Set<() => void>()
  private readonly expired = new Set<string>()
  private readonly perPrincipal = new Map<string, number>()
  private readonly perAddress = new Map<string, number>()

  /** What all sessions share. */
  readonly budget: Budget = {
    hasRoom: (bytes) => this.heldBytes + bytes <= this.limits.bytesMax,
    held: (moreBytes) => {
      this.heldBytes += moreBytes
      if (moreBytes >= 0 || this.waitingForBytes.size === 0) return
      const waiting = [...this.waitingForBytes]
      this.waitingForBytes.clear()
      for (const retry of waiting) retry()
    },
    onFreed: (retry) => void this.waitingForBytes.add(retry)
  }

  constructor(limits: ServerLimits) {
    const sessionsMax = limits.sessionsMax ?? serverDefaults.sessionsMax
    const handshakesMax = limits.handshakesMax ?? serverDefaults.handshakesMax
    this.limits = {
      resumeWindow: Duration.fromInputUnsafe(limits.resumeWindow ?? serverDefaults.resumeWindow),
      sessionsMax,
      sessionsPerPrincipalMax: limits.sessionsPerPrincipalMax ?? sessionsMax,
      sessionsPerAddressMax: limits.sessionsPerAddressMax ?? sessionsMax,
      handshakesMax,
      handshakesPerAddressMax: limits.handshakesPerAddressMax ?? handshakesMax,
      bytesMax: limits.bytesMax ?? serverDefaults.bytesMax,
      retryAfter: Duration.fromInputUnsafe(limits.retryAfter ?? serverDefaults.retryAfter),
      goAwaySpread: Duration.fromInputUnsafe(limits.goAwaySpread ?? serverDefaults.goAwaySpread)
    }
  }

  /** Which bound keeps one more session out; `undefined` if none does. */
  full(principal: string, address: Option.Option<string>): string | undefined {
    const { bytesMax, sessionsMax, sessionsPerAddressMax, sessionsPerPrincipalMax } = this.limits
    if (this.members.size >= sessionsMax) return `${sessionsMax} sessions (sessionsMax)`
    if ((this.perPrincipal.get(principal) ?? 0) >= sessionsPerPrincipalMax) {
      return `${sessionsPerPrincipalMax} sessions of this principal (sessionsPerPrincipalMax)`
    }
    if (Option.isSome(address) && (this.perAddress.get(address.value) ?? 0) >= sessionsPerAddressMax) {
      return `${sessionsPerAddressMax} sessions from this address (sessionsPerAddressMax)`
    }
    return this.heldBytes >= bytesMax ? `${bytesMax} bytes held for all sessions (bytesMax)` : undefined
  }

  /** Which bound keeps one more handshake from going on, and whether there are too many even for a polite answer. */
  crowd(address: Option.Option<string>): { readonly detail: string; readonly isOverrun: boolean } | undefined {
    const { handshakesMax, handshakesPerAddressMax } = this.limits
    if (this.handshakes > handshakesMax) {
      return { detail: `${handshakesMax} handshakes (handshakesMax)`, isOverrun: this.handshakes > handshakesMax * 2 }
    }
    const ofAddress = Option.isSome(address) ? (this.handshakesPerAddress.get(address.value) ?? 0) : 0
    if (ofAddress <= handshakesPerAddressMax) return undefined
    return {
      detail: `${handshakesPerAddressMax} handshakes from this address (handshakesPerAddressMax)`,
      isOverrun: ofAddress > handshakesPerAddressMax * 2
    }
  }

  /** Counts a link that is not yet part of a session. */
  shakingHands(address: Option.Option<string>) {
    const add = (by: 1 | -1) => {
      this.handshakes += by
      if (Option.isSome(address)) count(this.handshakesPerAddress, address.value, by)
    }
    return <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
      Effect.acquireUseRelease(
        Effect.sync(() => add(1)),
        () => self,
        () => Effect.sync(() => add(-1))
      )
  }

  /** One link more or less carries a session. */
  carries(by: 1 | -1): void {
    this.linksUp += by
    if (this.linksUp === 0) this.idle.openUnsafe()
    else this.idle.closeUnsafe()
  }

  add(member: Member): void {
    this.members.set(member.id, member)
    count(this.perPrincipal, member.principal, 1)
    if (Option.isSome(member.address)) count(this.perAddress, member.address.value, 1)
  }

  remove(member: Member, isExpired: boolean): void {
    if (!this.members.delete(member.id)) return
    if (isExpired) this.remember(member.id)
    count(this.perPrincipal, member.principal, -1)
    if (Option.isSome(member.address)) count(this.perAddress, member.address.value, -1)
  }

  /** The session was here, and nobody came for it in time. */
  isExpired(id: string): boolean {
    return this.expired.has(id)
  }

  private remember(id: string): void {
    const [oldest] = this.expired
    if (oldest !== undefined && this.expired.size >= expiredMax) this.expired.delete(oldest)
    this.expired.add(id)
  }
}

/** How many expired sessions are remembered by name, so that whoever comes too late is told so. */
const expiredMax = 4096

/** How a session is named in events and in the registry. */
export const idOf = (session: Uint8Array): string => Array.from(session, (byte) => byteNames[byte]).join("")

const byteNames = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

const count = (counts: Map<string, number>, key: string, by: number): void => {
  const next = (counts.get(key) ?? 0) + by
  if (next === 0) counts.delete(key)
  else counts.set(key, next)
}
