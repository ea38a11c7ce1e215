import { assert, it } from "@effect/vitest"
import { Effect, Runtime } from "effect"
import { tmpdir } from "node:os"
import { help, parse } from "../options.ts"

it.effect("ships the sources of effect for thirty seconds with seed 1 unless told otherwise", () =>
  Effect.gen(function* () {
    const options = yield* parse([])
    assert.match(options?.from ?? "", /node_modules\/effect\/src$/)
    assert.deepStrictEqual({ ...options, from: "" }, { from: "", seed: 1, seconds: 30, json: false })
  })
)

it.effect("takes every option", () =>
  Effect.gen(function* () {
    const options = yield* parse(["--from", tmpdir(), "--seed=42", "--seconds", "2.5", "--json"])
    assert.deepStrictEqual(options, { from: tmpdir(), seed: 42, seconds: 2.5, json: true })
    assert.isUndefined(yield* parse(["--help"]))
    for (const name of ["--from", "--seed", "--seconds", "--json"]) assert.include(help, name)
  })
)

it.effect.each([
  [["--sede", "1"], /Unknown option '--sede'/],
  [["extra"], /Unexpected argument 'extra'/],
  [["--seed"], /--seed/],
  [["--seed", "x"], /--seed: expected a whole number, got "x"/],
  [["--seed=-1"], /--seed: expected a whole number/],
  [["--seconds", "0"], /--seconds: expected a number above 0 and at most 3600, got "0"/],
  [["--seconds", "1e9"], /--seconds/],
  [["--from", "/no/such/folder"], /--from: there is no folder \/no\/such\/folder/],
  [["--from", process.execPath], /is not a folder/]
] as const)("refuses %j with a sentence and exit code 2", ([args, sentence]) =>
  Effect.gen(function* () {
    const error = yield* Effect.flip(parse(args))
    assert.match(error.message, sentence)
    assert.match(error.message, /^[^\n]+\. Try --help\.$/)
    assert.strictEqual(error[Runtime.errorExitCode], 2)
  })
)
