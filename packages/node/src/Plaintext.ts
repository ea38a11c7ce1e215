/**
 * Who may speak without TLS: whoever stays on this machine, and whoever says so. The rule and its reason are those of
 * `holdfast/Plaintext`; here it is decided by the address that is dialled or bound, not by the name.
 */
import { BlockList, isIPv6 } from "node:net"

export { PlaintextRefused } from "holdfast/Plaintext"

/** True for 127.0.0.0/8 and ::1, also where they are written as IPv6 (`::ffff:127.0.0.1`). */
export const isLoopback = (address: string): boolean => loopback.check(address, isIPv6(address) ? "ipv6" : "ipv4")

const loopback = new BlockList()
loopback.addSubnet("127.0.0.0", 8, "ipv4")
loopback.addAddress("::1", "ipv6")
