/** An instant in words, as short as it can be. */
export const describe = (millis: number): string => {
  if (millis < 1000) return `${millis} ms`
  if (millis < 120_000) return `${Math.round(millis / 100) / 10} s`
  if (millis < 7_200_000) return `${Math.round(millis / 6000) / 10} min`
  return `${Math.round(millis / 360_000) / 10} h`
}
