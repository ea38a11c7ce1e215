// What a page and its server say to each other: numbers, and each number back once it is in the ledger.
import { Schema } from "effect"
import { Session } from "holdfast"

export class Notes extends Session.Service<Notes>()("test/Notes", { toServer: Schema.Int, toClient: Schema.Int }) {}
