/** All rows of the conformance table. */
import { connecting } from "./Connecting.ts"
import { givingUp } from "./GivingUp.ts"
import { losing } from "./Losing.ts"
import type { Row } from "./Row.ts"
import { slowAndFrozen } from "./SlowAndFrozen.ts"

export const groups: Readonly<Record<string, ReadonlyArray<Row>>> = {
  "Slow and frozen (S0, S4)": slowAndFrozen,
  "Lost without an error (S1)": losing,
  "Connected and not seen (S2)": connecting,
  "Cut (S3)": givingUp
}

/** What a real kernel was measured to do; `UPDATE=1 npm run test:real` writes it. */
export const measurements = new URL("measured.json", import.meta.url)
