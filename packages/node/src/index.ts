/**
 * Holdfast on Node: links and listeners over TCP, TLS and unix sockets that can be reset at once.
 */
/**
 * Links and listeners over Node's sockets, for `holdfast`.
 */
export * as Kernel from "./Kernel.ts"
export * as KernelOptions from "./KernelOptions.ts"
export * as NodeLink from "./NodeLink.ts"
export * as NodeListener from "./NodeListener.ts"
export * as Plaintext from "./Plaintext.ts"
