/** Of the time of a stop, ms: what each part of it may take, so that there is time left for the last commit. */
export const stopTimes = {
  /** What is being scored, of the API's time; there is time left to answer that there is no score. */
  model: 1_000,
  /** A device that hangs, before what the others brought is stored. */
  sources: 2_500,
  /** Callers of the API that wait for a commit. */
  api: 1_500,
  /** How long finished messages may still go out, */
  drain: 3_000,
  /** and the hub's client close after that. */
  hub: 2_500,
} as const;
