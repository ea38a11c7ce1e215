/**
 * A TCP tunnel whose connections survive network changes.
 *
 *   npm run tunnel -- serve --listen 127.0.0.1:7000 --target 127.0.0.1:5432 --secret-file F
 *   npm run tunnel -- dial --connect 127.0.0.1:7000 --listen 127.0.0.1:15432 --secret-file F
 *
 * A program that connects to 127.0.0.1:15432 talks to 127.0.0.1:5432, and does not notice when the way between the two
 * ends is cut: they dial again, and the session goes on where it stood.
 */
import { NodeRuntime, NodeServices } from "@effect/platform-node"
import { Cause, Console, Effect, Exit, Layer, Option, Predicate, Runtime } from "effect"
import { CliConfig, CliOutput, Command, GlobalFlag } from "effect/cli"
import { tunnel } from "./command.ts"

/** A command line that makes no sense gets one sentence, and not the whole help. */
const presenter = CliOutput.layerPresenter({
  present: (event) =>
    event._tag === "InvalidInvocation"
      ? Console.error(`${event.errors.map(({ message }) => message).join(". ")}. Try --help.`)
      : CliOutput.defaultPresenter.present(event)
})

const services = Layer.mergeAll(
  NodeServices.layer,
  presenter,
  CliConfig.layer({ builtIns: [GlobalFlag.Help, GlobalFlag.Version, GlobalFlag.Completions] })
)

/** A signal is how it is meant to end: by then it has drained. */
const teardown: Runtime.Teardown = (exit, onExit) => {
  if (Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)) return onExit(0)
  const isUnusable = Option.exists(Exit.findErrorOption(exit), (error) => isHelp(error) && error.errors.length > 0)
  return isUnusable ? onExit(2) : Runtime.defaultTeardown(exit, onExit)
}

const isHelp = (error: unknown): error is { readonly _tag: "ShowHelp"; readonly errors: ReadonlyArray<unknown> } =>
  Predicate.isTagged(error, "ShowHelp")

tunnel.pipe(
  Command.run({ version: "1" }),
  Effect.tapError((error) => (isHelp(error) ? Effect.void : Console.error(error.message))),
  Effect.provide(services),
  (effect) => NodeRuntime.runMain(effect, { disableErrorReporting: true, teardown })
)
