/**
 * `@grpc/grpc-js`: a bidirectional stream, whose messages are plain bytes. Its server streams, which is the faster way.
 */
import {
  credentials,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ClientDuplexStream,
  type ServerDuplexStream,
  type ServiceDefinition
} from "@grpc/grpc-js"
import { once } from "node:events"
import type { Contestant } from "../contestant.ts"
import { fromServer } from "../peers.ts"
import { interview } from "../sockets.ts"

const same = (bytes: Buffer): Buffer => bytes

const service = {
  exchange: {
    path: "/bench.Bench/Exchange",
    requestStream: true,
    responseStream: true,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same
  }
} satisfies ServiceDefinition

type Call = ServerDuplexStream<Buffer, Buffer>

const listening = (onCall: (call: Call) => void): Promise<number> => {
  const server = new Server()
  server.addService(service, { exchange: onCall })
  return new Promise((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error)
    )
  })
}

const Client = makeGenericClientConstructor(service, "Bench")

const called = (port: number): ClientDuplexStream<Buffer, Buffer> =>
  new Client(`127.0.0.1:${port}`, credentials.createInsecure())["exchange"]!()

/** Sends back, or streams. */
export const contestant: Contestant = {
  ...fromServer(
    async (source) => {
      const { promise: accepted, resolve: accept } = Promise.withResolvers<Call>()
      const port = await listening(accept)
      const done = accepted.then(async (call) => {
        while (!source.isOver) if (!call.write(source.fresh())) await once(call, "drain")
      })
      return { port, done }
    },
    async (port, check) => called(port).on("data", (message: Buffer) => check.message(message))
  ),
  answer: () => listening((call) => call.on("data", (question: Buffer) => call.write(question))),
  ask: async (port, asker) => {
    const call = called(port)
    const { answered, begin, done } = interview(asker, () => call.write(asker.fresh()))
    call.on("data", answered)
    begin()
    await done
  }
}
