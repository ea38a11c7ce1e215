/** What a real kernel was measured to do, as it is kept beside the rows; `UPDATE=1 npm run test:real` writes it. */
import * as Fs from "node:fs"
import type { Outcome } from "./Row.ts"

export interface Record {
  /** Release and congestion control. */
  readonly kernel: string
  readonly rows: Readonly<{ [fault: string]: Outcome }>
}

const path = new URL("measured.json", import.meta.url)

export const read = (): Record =>
  Fs.existsSync(path) ? (JSON.parse(Fs.readFileSync(path, "utf8")) as Record) : { kernel: "", rows: {} }

/** Puts fresh measurements in the place of older ones. */
export const update = (kernel: string, rows: Record["rows"]): void => {
  const record: Record = { kernel, rows: { ...read().rows, ...rows } }
  Fs.writeFileSync(path, `${JSON.stringify(record, undefined, 2)}\n`)
}

export const isUpdating = process.env["UPDATE"] === "1"
