// What the kernel knows of TCP sockets, from `ss`.
import { execFileSync } from "node:child_process"
import type { Namespace } from "./Namespace.ts"

export interface TcpSocket {
  readonly state: string
  readonly receiveQueueBytes: number
  readonly sendQueueBytes: number
  readonly local: string
  readonly remote: string
}

/** The sockets whose local (`sport`) or remote (`dport`) port is this one, listening ones aside. */
export const sockets = (
  end: "sport" | "dport",
  port: number,
  inside?: Namespace | undefined
): ReadonlyArray<TcpSocket> => {
  const args = ["-tnaH", "state", "all", "exclude", "listening", `${end} = :${port}`]
  const text = inside === undefined ? execFileSync("ss", args, { encoding: "utf8" }) : inside.run("ss", ...args)
  return text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [state = "", receive, send, local = "", remote = ""] = line.trim().split(/\s+/)
      return { state, receiveQueueBytes: Number(receive), sendQueueBytes: Number(send), local, remote }
    })
}
