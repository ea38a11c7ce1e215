/**
 * rsocket-js over TCP: a stream that is asked for, with credit by messages, and a request for each question.
 */
import { RSocketConnector, RSocketServer, type RSocket } from "rsocket-core"
import { TcpClientTransport } from "rsocket-tcp-client"
import { TcpServerTransport } from "rsocket-tcp-server"
import { createServer, type AddressInfo } from "node:net"
import type { Contestant } from "../contestant.ts"
import { fromServer, inTurns, turnOf } from "../peers.ts"
import { interview } from "../sockets.ts"

const listening = async (responder: Partial<RSocket>): Promise<number> => {
  const server = createServer({ noDelay: true })
  const transport = new TcpServerTransport({
    listenOptions: { host: "127.0.0.1", port: 0 },
    socketCreator: () => server
  })
  await new RSocketServer({ transport, acceptor: { accept: async () => responder } }).bind()
  return (server.address() as AddressInfo).port
}

const connected = (port: number): Promise<RSocket> =>
  new RSocketConnector({
    transport: new TcpClientTransport({ connectionOptions: { host: "127.0.0.1", port, noDelay: true } })
  }).connect()

const fail = (error: Error) => {
  throw error
}

const ignored = { onError: fail, onComplete: () => undefined, onExtension: () => undefined }

/** How many turns of messages the receiver asks for ahead. */
const turnsAhead = 8

/** A stream that is asked for; a request and a response for each question. */
export const contestant: Contestant = {
  ...fromServer(
    async (source) => {
      const turn = turnOf(source.size)
      const { promise: done, resolve: finish } = Promise.withResolvers<void>()
      const port = await listening({
        requestStream: (_, initial, subscriber) => {
          let credit = initial
          let look = (): void => undefined
          const send = (data: Buffer) => {
            credit--
            subscriber.onNext({ data }, false)
          }
          const room = () =>
            credit >= turn
              ? undefined
              : new Promise<void>((resolve) => {
                  look = resolve
                })
          void inTurns(source, send, room).then(finish)
          return {
            request: (more) => {
              credit += more
              if (credit >= turn) look()
            },
            cancel: () => undefined,
            onExtension: () => undefined
          }
        }
      })
      return { port, done }
    },
    async (port, check) => {
      const turn = turnOf(check.size)
      const rsocket = await connected(port)
      const stream = rsocket.requestStream({ data: Buffer.of() }, turnsAhead * turn, {
        ...ignored,
        onNext: ({ data }) => {
          check.message(data!)
          if (check.count % turn === 0) stream.request(turn)
        }
      })
    }
  ),
  answer: () =>
    listening({
      requestResponse: ({ data }, subscriber) => {
        subscriber.onNext({ data }, true)
        return { cancel: () => undefined, onExtension: () => undefined }
      }
    }),
  ask: async (port, asker) => {
    const rsocket = await connected(port)
    const talk = interview(asker, () => {
      rsocket.requestResponse({ data: asker.fresh() }, { ...ignored, onNext: ({ data }) => talk.answered(data!) })
    })
    talk.begin()
    await talk.done
  }
}
