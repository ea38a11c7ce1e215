import type { Socket } from "node:net"

/**
 * The descriptor of a socket, or -1 while it has none: before it dials, while it resolves, after it was closed. Ask anew
 * for every call and never across a turn of the event loop: the kernel gives a closed descriptor's number to the next
 * file. Node keeps it in `_handle` without documenting it, also for TLS, and offers no other way to it.
 */
export const descriptorOf = (socket: Socket): number => {
  const handle: unknown = Reflect.get(socket, "_handle")
  const descriptor: unknown = typeof handle === "object" && handle !== null ? Reflect.get(handle, "fd") : undefined
  return typeof descriptor === "number" ? descriptor : -1
}
