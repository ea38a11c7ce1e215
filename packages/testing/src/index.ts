/**
 * A simulated network for Effect programs: virtual time, faults as values, every run repeatable from its seed.
 */
export * as Checker from "./Checker.ts"
export * as Conversation from "./Conversation.ts"
export * as Fault from "./Fault.ts"
export * as Kernel from "./Kernel.ts"
export * as Ledger from "./Ledger.ts"
export * as Picture from "./Picture.ts"
export * as Scenario from "./Scenario.ts"
export * as SimHost from "./SimHost.ts"
export * as SimNetwork from "./SimNetwork.ts"
export * as Swarm from "./Swarm.ts"
export * as Transcript from "./Transcript.ts"
