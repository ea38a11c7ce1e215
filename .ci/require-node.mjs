// Runs before the programs and the tests. The scripts put node_modules/.bin first, where `npm ci` installed Node 24; this
// speaks only if that did not happen (for example under --ignore-scripts) and the machine's own Node is too old.
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number)
if (major < 22 || (major === 22 && minor < 19)) {
  console.error(
    `Holdfast needs Node 22.19 or later, and this is ${process.version} (${process.execPath}). ` +
      "Run `npm ci` with scripts allowed: it installs Node 24 for this folder."
  )
  process.exit(1)
}
