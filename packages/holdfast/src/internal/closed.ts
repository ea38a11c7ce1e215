/**
 * What operations fail with on something that this side has closed. It has no evidence, and nearly every session ends with
 * it: one serves for all, since to make an error costs more than to close.
 */
import * as ConnectionError from "../ConnectionError.ts"

export const closed = ConnectionError.make(new ConnectionError.Closed())
