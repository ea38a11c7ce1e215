/**
 * Mistakes that somebody could make with channels.
 */
import { Channel, type Frame, Openings, ReceiveWindow, SendWindow, type Violation } from "@holdfast/protocol"
import { Channels } from "@holdfast/protocol/Channels"
import { Credit } from "@holdfast/protocol/Credit"
import { type Mutant, mutant, oneChannel, withAccounts, withChannels } from "./Mutant.ts"
import { fieldsOf } from "./Snapshot.ts"

class CountsTheWindowTwice extends SendWindow.SendWindow {
  override resume(received: number, taken: number, limit: number): Violation.Violation | undefined {
    const failed = super.resume(received, taken, limit)
    if (received > 0) this.limit = limit + (limit - taken)
    return failed
  }
}

class NeverGivesGrowthBack extends Credit {
  override sent(channel: Channel.Channel): void {
    const before = channel.sendGrowthBytes
    super.sent(channel)
    const back = before - channel.sendGrowthBytes
    if (back > 0) fieldsOf(this)["sendGrowthBytes"] = (fieldsOf(this)["sendGrowthBytes"] as number) + back
  }
}

class KeepsTheGrowthOfWhatIsGone extends Credit {
  override remove(channel: Channel.Channel): void {
    channel.sendGrowthBytes = 0
    super.remove(channel)
  }
}

class ForgetsGrowthAtACut extends Channels {
  override cut(): void {
    super.cut()
    fieldsOf(this.credit)["sendGrowthBytes"] = 0
  }
}

class IgnoresGrowth extends Credit {
  override roomOf(): number {
    return Infinity
  }
}

class ForgetsResetsAtACut extends Openings.Openings {
  private wasCut = false

  override cut(): void {
    super.cut()
    this.wasCut = true
  }

  override write(): Array<Openings.Opening> {
    return super.write().filter(({ _tag }) => !this.wasCut || _tag !== "Reset")
  }
}

class NeverConfirmsAReset extends Openings.Openings {
  override wasReset(id: number, wasOpen: boolean): Violation.Violation | undefined {
    const failed = super.wasReset(id, wasOpen)
    const due = fieldsOf(this)["resetDoneDue"] as Set<number>
    due.clear()
    return failed
  }
}

class DoesNotOpenAgain extends Openings.Openings {
  override count(
    frame: Frame.Channels,
    find: (id: number) => Channel.Channel | undefined
  ): Violation.Violation | undefined {
    const wasUp = this.isUp
    const failed = super.count(frame, find)
    if (!wasUp) fieldsOf(this)["openDue"] = []
    return failed
  }
}

class OpensAgainWhatWasSeen extends Openings.Openings {
  override count(
    frame: Frame.Channels,
    find: (id: number) => Channel.Channel | undefined
  ): Violation.Violation | undefined {
    const wasUp = this.isUp
    const failed = super.count(frame, find)
    if (!wasUp && find(1)?.isOurs === true) fieldsOf(this)["openDue"] = [{ _tag: "Open", channel: 1, name: "" }]
    return failed
  }

  override see(id: number): boolean | Violation.Violation {
    const found = super.see(id)
    return found === false ? true : found
  }
}

class IgnoresTheLimit extends Openings.Openings {
  override get openable(): number {
    return fieldsOf(this)["openLimit"] === 0 ? 0 : 1
  }
}

class UsesChannelsAtOnce extends Channels {
  override isUsable(): boolean {
    return true
  }
}

class ListsNothing extends Channels {
  override resume(): void {
    this.openings.resume()
  }
}

class ConcludesWhatIsNotTaken extends Channel.Channel {
  override get isFinished(): boolean {
    return this.send.isFinished && this.receive.ended
  }
}

class ConcludesWhatIsNotKnownToBeDeclined extends Channel.Channel {
  override get isFinished(): boolean {
    return this.send.isFinished && this.receive.isFinished
  }
}

class DoesNotCountWhatWasSkipped extends ReceiveWindow.ReceiveWindow {
  override data(offset: number, bytes: Uint8Array): Violation.Violation | undefined {
    const failed = super.data(offset, bytes)
    this.skippedCount = 0
    return failed
  }
}

const ended = { ...oneChannel, channelEnds: true }
const growing = { ...oneChannel, channels: 2, channelsMax: 2, channelMessages: [2, 0], growthBytes: 4 } as const

export const channelMutants: ReadonlyArray<Mutant> = [
  mutant("counts the window of a channel twice after a resume", withChannels("send", CountsTheWindowTwice), /limit/, {
    ...oneChannel,
    channelMessages: [2, 0],
    incarnations: 2
  }),
  mutant("does not give growth back", withAccounts("credit", NeverGivesGrowthBack), /counts .* growth/, growing),
  mutant(
    "keeps the growth of a channel that is reset",
    withAccounts("credit", KeepsTheGrowthOfWhatIsGone),
    /counts .* growth/,
    {
      ...growing,
      channels: 1,
      resets: true
    }
  ),
  mutant("forgets at a cut what is held", withAccounts("channels", ForgetsGrowthAtACut), /growth/, {
    ...growing,
    incarnations: 2
  }),
  mutant("ignores that growth is for all", withAccounts("credit", IgnoresGrowth), /growth/, growing),
  mutant("forgets resets at a cut", withAccounts("openings", ForgetsResetsAtACut), /reset|forgotten/, {
    ...oneChannel,
    resets: true,
    incarnations: 2
  }),
  mutant("never confirms a reset", withAccounts("openings", NeverConfirmsAReset), /channels may be opened/, {
    ...oneChannel,
    resets: true
  }),
  mutant("does not open again what was never seen", withAccounts("openings", DoesNotOpenAgain), /there is no channel/, {
    ...oneChannel,
    incarnations: 2
  }),
  mutant("accepts an old opening a second time", withAccounts("openings", OpensAgainWhatWasSeen), /opened twice/, {
    ...oneChannel,
    incarnations: 2
  }),
  mutant("opens more channels than it may", withAccounts("openings", IgnoresTheLimit), /channel-limit/, {
    ...oneChannel,
    channels: 2
  }),
  mutant("uses channels on a new link at once", withAccounts("channels", UsesChannelsAtOnce), /accuses/, {
    ...oneChannel,
    incarnations: 2
  }),
  mutant("does not list its channels on a new link", withAccounts("channels", ListsNothing), /forgotten/, {
    ...oneChannel,
    incarnations: 2
  }),
  mutant(
    "concludes a channel before all of it is taken",
    withChannels("channel", ConcludesWhatIsNotTaken),
    /finished/,
    ended
  ),
  mutant(
    "concludes a channel before it is known what was declined",
    withChannels("channel", ConcludesWhatIsNotKnownToBeDeclined),
    /the sender was told ""/,
    { ...ended, incarnations: 2 }
  ),
  mutant(
    "does not count what was skipped",
    withChannels("receive", DoesNotCountWhatWasSkipped),
    /known to be skipped|count as taken/,
    {
      ...oneChannel,
      channelMessages: [3, 0],
      skips: 1
    }
  )
]
