// The inside of a role: its argument, its way to report, and its end when nobody listens any more.

export const argument: unknown = JSON.parse(process.argv[2]!)

export const report = (body: object): void => {
  process.send?.({ ...body, at: Date.now() })
}

/** Hears what this process is told by the one that started it. */
export const listen = (hear: (order: unknown) => void): void => {
  process.on("message", hear)
}

process.on("disconnect", () => process.exit())
