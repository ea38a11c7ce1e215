/**
 * What a peer did that the protocol forbids. Violations are returned, never thrown: whoever called decides what ends.
 */

/** One broken rule. `rule` is a short name found in SPEC.md, `detail` carries the figures. */
export interface Violation {
  readonly _tag: "Violation"
  readonly rule: string
  readonly detail: string
}

/** Makes a {@link Violation}. */
export const violation = (rule: string, detail: string): Violation => ({ _tag: "Violation", rule, detail })
