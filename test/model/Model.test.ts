// Every order in which two real peers can send, receive, take, lose their link, dial again and lose their memory, within an
// extent: in each state every promise holds, and without further faults everything arrives, whatever happens first.
import { describe } from "@effect/vitest"
import { explored } from "./Exploring.ts"
import { large } from "./Extents.ts"

describe("A session keeps its promises in every state of", () => {
  explored(large)
})
