/** Injection tokens for what has no class. */

export const SETTINGS = Symbol('WorkerSettings');
export const BROKER = Symbol('Broker');
export const TOOLS = Symbol('AttemptTools');
