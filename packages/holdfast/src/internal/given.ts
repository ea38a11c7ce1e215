/** Options without what is `undefined`, to be spread over defaults. */
export const given = <A extends object>(options: A): { [Key in keyof A]: Exclude<A[Key], undefined> } =>
  Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [Key in keyof A]: Exclude<A[Key], undefined>
  }
