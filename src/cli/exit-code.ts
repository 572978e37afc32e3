/** 78 is EX_CONFIG of sysexits.h: a supervisor need not try again before somebody mended something. */
export const exitCode = { stopped: 0, crashed: 1, badConfiguration: 78 } as const;
