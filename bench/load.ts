/**
 * Questions at a steady pace, whether or not the answers keep up: over one session for ever, or over many short ones that
 * are opened and closed all the time. Times count from when a question was due.
 */
import { createHistogram } from "node:perf_hooks"
import { setTimeout as sleep } from "node:timers/promises"
import type { Member } from "./crowd.ts"
import { crowds } from "./crowds.ts"
import { Check, numberOf, patternOf, stamp } from "./workload.ts"

export interface Load {
  readonly contestant: string
  readonly port: number
  /** Of each message, in bytes. */
  readonly size: number
  /** How many sessions there are at any time. */
  readonly sessions: number
  /** After so many questions a session is closed, and another one opened. */
  readonly questionsEach: number
  /** Questions a second. */
  readonly rate: number
  readonly seconds: number
}

export interface Loaded {
  /** Answers a second. */
  readonly rate: number
  /** In milliseconds. */
  readonly p50: number
  readonly p99: number
  readonly slowest: number
  readonly answered: number
  /** How many sessions were opened. */
  readonly opened: number
}

/** One session after the other. */
class Seat {
  /** `undefined` while one is opened or closed. */
  private member: Member | undefined
  private asked = 0
  private readonly due = new Map<number, number>()
  private readonly load: Load
  private readonly run: Run
  private readonly check: Check

  /** So many questions the present session is asked. */
  private questions: number

  constructor(load: Load, run: Run, questions: number) {
    this.questions = questions
    this.load = load
    this.run = run
    this.check = new Check(load.size)
  }

  /** Opens the next session. */
  async open(): Promise<void> {
    const { contestant, port } = this.load
    const { connect } = await crowds[contestant]!()
    const onMessage = (answer: Uint8Array) => this.answered(answer)
    this.asked = 0
    this.member = await connect({ port, id: ++this.run.opened, beatMillis: 0, onMessage })
  }

  /** How many more questions may be asked now. */
  get room(): number {
    return this.member === undefined ? 0 : this.questions - this.asked
  }

  ask(dueAt: ReadonlyArray<number>): void {
    const questions = dueAt.map((at) => {
      const question = this.run.pattern.slice()
      stamp(question, this.asked)
      this.due.set(this.asked++, at)
      return question
    })
    void this.member!.send(questions)
  }

  private answered(answer: Uint8Array): void {
    const number = numberOf(answer)
    const at = this.due.get(number)
    if (at === undefined) throw new Error(`an answer to question ${number}, which is not open`)
    this.due.delete(number)
    this.check.count = number
    this.check.message(answer)
    this.run.answered(at)
    if (this.due.size > 0 || this.asked < this.questions) return
    const { member } = this
    this.questions = this.load.questionsEach
    this.member = undefined
    void member!.close().then(() => (this.run.isOver ? undefined : this.open()))
  }
}

class Run {
  opened = 0
  isOver = false
  answers = 0
  lastAt = 0
  readonly pattern: Uint8Array
  /** From here on they count. */
  measuredFrom = 0
  measured = 0
  readonly times = createHistogram()

  constructor(size: number) {
    this.pattern = patternOf(size)
  }

  answered(dueAt: number): void {
    this.answers++
    this.lastAt = performance.now()
    if (dueAt < this.measuredFrom) return
    this.measured++
    this.times.record(Math.max(1, Math.round((this.lastAt - dueAt) * 1e6)))
  }
}

export const load = async (options: Load): Promise<Loaded> => {
  const { questionsEach, rate, seconds, sessions, size } = options
  const run = new Run(size)
  // The first ones are over one after the other, or all would be closed and opened at the same time again and again.
  const seats = Array.from(
    { length: sessions },
    (_, i) => new Seat(options, run, Math.ceil((questionsEach * (i + 1)) / sessions))
  )
  for (let i = 0; i < sessions; i += openingMax) {
    await Promise.all(seats.slice(i, i + openingMax).map((seat) => seat.open()))
  }
  const warmSeconds = Math.min(2, seconds / 2)
  const total = Math.round(rate * (seconds + warmSeconds))
  const from = performance.now()
  run.measuredFrom = from + warmSeconds * 1000
  const dueAt = (number: number) => from + (number / rate) * 1000
  let asked = 0
  let place = 0
  const ask = () => {
    const due = Math.min(total, Math.floor(((performance.now() - from) * rate) / 1000))
    let refused = 0
    while (asked < due && refused < sessions && asked - run.answers < outstandingMax) {
      const seat = seats[place++ % sessions]!
      const count = Math.min(seat.room, due - asked, sessions === 1 ? questionsAtOnce : 1)
      if (count === 0) refused++
      else {
        refused = 0
        seat.ask(Array.from({ length: count }, () => dueAt(asked++)))
      }
    }
  }
  const timer = setInterval(ask, 1)
  let answers = -1
  while (run.answers < total) {
    if (run.answers === answers) throw new Error(`${total - answers} of ${total} questions have no answer after 10 s`)
    answers = run.answers
    for (let i = 0; i < 100 && run.answers < total; i++) await sleep(100)
  }
  clearInterval(timer)
  run.isOver = true
  const millis = (percent: number) => run.times.percentile(percent) / 1e6
  return {
    rate: run.measured / ((run.lastAt - run.measuredFrom) / 1000),
    p50: millis(50),
    p99: millis(99),
    slowest: run.times.max / 1e6,
    answered: run.measured,
    opened: run.opened
  }
}

/** Sessions that are opened at once in the beginning. */
const openingMax = 100
const questionsAtOnce = 64
/** Beyond this the next questions wait, and their time runs. */
const outstandingMax = 20_000
