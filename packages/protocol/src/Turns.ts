/**
 * Whose turn it is to send: round robin by bytes with weights (deficit round robin, Shreedhar and Varghese 1995), where
 * whoever begins to send comes first (as the sparse flows of RFC 8290). So a small message overtakes a large one.
 */
import type { Channel } from "./Channel.ts"

/** The channels that have something to send, in the order of their turns. */
export class Turns {
  /** Those that have not had a turn in this round, and come first. */
  private fresh: Array<Channel> = []
  private waiting: Array<Channel> = []
  /** It is in the middle of something. */
  private staying: Channel | undefined
  private round = 0
  /** How many turns are left in this round. */
  private turnsLeft = 0

  get isEmpty(): boolean {
    return this.fresh.length === 0 && this.waiting.length === 0
  }

  /** Nobody else wants to send. */
  get isAlone(): boolean {
    return this.fresh.length + this.waiting.length === 1
  }

  /** Whoever sends now, `deficitBytes` unless it is alone. Whoever has sent more before has to wait for longer. */
  get next(): Channel | undefined {
    for (;;) {
      const channel = this.staying ?? this.fresh[0] ?? this.waiting[0]
      if (channel === undefined || channel === this.staying || channel.deficitBytes > 0) return channel
      this.remove(channel)
      this.queue(channel)
    }
  }

  /** The channel has something to send. */
  join(channel: Channel): void {
    if (channel.isWaiting) return
    channel.isWaiting = true
    if (channel.round === this.round) return this.queue(channel)
    channel.deficitBytes = turnBytes(channel)
    this.fresh.push(channel)
  }

  /** Whose turn it is has sent so much. It stays if that was a part of something. */
  spend(channel: Channel, bytes: number, isPart: boolean): void {
    channel.round = this.round
    channel.deficitBytes -= bytes
    this.staying = isPart ? channel : undefined
    if (isPart || channel.deficitBytes > 0) return
    this.remove(channel)
    this.queue(channel)
  }

  /** The channel has nothing to send any more. */
  leave(channel: Channel): void {
    if (!channel.isWaiting) return
    channel.isWaiting = false
    if (this.staying === channel) this.staying = undefined
    this.remove(channel)
  }

  private queue(channel: Channel): void {
    channel.deficitBytes = Math.min(0, channel.deficitBytes) + turnBytes(channel)
    this.waiting.push(channel)
  }

  private remove(channel: Channel): void {
    if (takeOut(this.fresh, channel) || !takeOut(this.waiting, channel)) return
    if (--this.turnsLeft > 0) return
    this.round++
    this.turnsLeft = this.waiting.length
  }
}

const turnBytes = ({ weight }: Channel): number => Math.max(1, Math.round(quantumBytes * weight))

/** Almost always it is the first. */
const takeOut = (list: Array<Channel>, channel: Channel): boolean => {
  if (list[0] === channel) list.shift()
  else {
    const index = list.indexOf(channel)
    if (index < 0) return false
    list.splice(index, 1)
  }
  return true
}

/** How much one channel of weight 1 sends in one turn: large enough for what a turn costs not to matter. */
const quantumBytes = 16_384
