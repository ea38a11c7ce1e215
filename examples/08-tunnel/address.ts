/**
 * Addresses as a command line writes them: `host:port`, `[v6]:port`, and `name=host:port` where there are several.
 */

export interface Address {
  readonly host: string
  readonly port: number
}

/** An address and what it is called on both sides of the tunnel. */
export interface Named {
  readonly name: string
  readonly address: Address
}

/** What an address is called that was not given a name. */
export const defaultName = "default"

/** Throws a sentence. */
export const parse = (given: string): Address => {
  const [, v6, host = v6, digits] = /^(?:\[([\da-f:.]+)\]|([^\s:[\]=]+)):(\d{1,5})$/i.exec(given) ?? []
  if (host === undefined) throw new Error(`write host:port, for instance 127.0.0.1:5432 or [::1]:5432, not "${given}"`)
  const port = Number(digits)
  if (port > portMax) throw new Error(`a port is at most ${portMax}, got ${digits}`)
  return { host, port }
}

/** Throws a sentence. */
export const parseNamed = (given: string): Named => {
  const [, name, rest] = /^([^=]*)=(.*)$/.exec(given) ?? []
  if (name === undefined || rest === undefined) return { name: defaultName, address: parse(given) }
  if (!/^[\w.-]{1,64}$/.test(name)) {
    throw new Error(`a name has 1 to 64 letters, digits, dots, dashes or underscores, not "${name}"`)
  }
  return { name, address: parse(rest) }
}

export const text = ({ host, port }: Address): string => (host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`)

export const namedText = ({ address, name }: Named): string =>
  name === defaultName ? text(address) : `${name}=${text(address)}`

const portMax = 65_535
