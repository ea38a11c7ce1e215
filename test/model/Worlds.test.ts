// The worlds beside the large one: frames in pieces, ends, declined messages, and all that happens to channels. They have a
// file of their own, so that they are explored at the same time.
import { describe } from "@effect/vitest"
import { explored } from "./Exploring.ts"
import { smaller } from "./Extents.ts"

describe("A session keeps its promises in every state of", () => {
  explored(smaller)
})
