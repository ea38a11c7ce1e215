/**
 * A simulated network for Effect programs: virtual time, faults as values, every run repeatable from its seed.
 */
export * as Fault from "./Fault.ts"
export * as Kernel from "./Kernel.ts"
export * as SimHost from "./SimHost.ts"
export * as SimNetwork from "./SimNetwork.ts"
export * as Transcript from "./Transcript.ts"
