/**
 * Holdfast on Node: links and listeners over TCP, TLS, unix sockets and WebSockets that can be reset at once.
 */
export * as Kernel from "./Kernel.ts"
export * as KernelOptions from "./KernelOptions.ts"
export * as NodeLink from "./NodeLink.ts"
export * as NodeListener from "./NodeListener.ts"
export * as Plaintext from "./Plaintext.ts"
