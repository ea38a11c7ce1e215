/**
 * What is to be said of the session as a whole with the next bytes that are written.
 */
import * as Frame from "./Frame.ts"

/** Control frames that are to go out with the next bytes. */
export class Due {
  ping: number | undefined
  pong: number | undefined
  heartbeat = false
  /** Where channel 0 stands, whether that is news or not. */
  positions = false
  close: Frame.Close | undefined
  closed = false
  /** This session moves elsewhere: said on each link. */
  private retryAfterMillis: number | undefined
  private goAway = false

  /** There is something to say. */
  get isAny(): boolean {
    return this.heartbeat || this.positions || this.isMore
  }

  /** From now on it is said that this session moves elsewhere. */
  leave(retryAfterMillis: number): void {
    this.retryAfterMillis = retryAfterMillis
    this.goAway = true
  }

  /** Appends what is due; `end` is where our direction of channel 0 ends. True if that is no more than a heartbeat. */
  write(end: number, into: Array<Uint8Array>): boolean {
    const { close, goAway, ping, pong, retryAfterMillis } = this
    const isHeartbeat = this.heartbeat && !this.isMore
    if (pong !== undefined) into.push(Frame.encode({ _tag: "Pong", id: pong }))
    if (ping !== undefined) into.push(Frame.encode({ _tag: "Ping", id: ping }))
    if (this.heartbeat) into.push(Frame.encode({ _tag: "Heartbeat" }))
    if (goAway) into.push(Frame.encode({ _tag: "GoAway", retryAfterMillis: retryAfterMillis!, end }))
    if (close !== undefined) into.push(Frame.encode(close))
    if (this.closed) into.push(Frame.encode({ _tag: "Closed" }))
    this.forget()
    this.goAway = false
    this.close = undefined
    return isHeartbeat
  }

  /** The link is gone: what concerned only that one is forgotten. */
  cut(): void {
    this.forget()
    this.goAway = this.retryAfterMillis !== undefined
  }

  private get isMore(): boolean {
    const { close, closed, goAway, ping, pong } = this
    return ping !== undefined || pong !== undefined || goAway || close !== undefined || closed
  }

  private forget(): void {
    this.ping = undefined
    this.pong = undefined
    this.heartbeat = false
    this.positions = false
    this.closed = false
  }
}
