import { AsyncLocalStorage } from 'node:async_hooks';

/** What every line of the log says while a request or a job is dealt with. */
export interface LogContext {
  requestId?: string;
  jobId?: string;
  attempt?: number;
}

const storage = new AsyncLocalStorage<LogContext>();

/** Runs `work`; each line logged in it, also after awaits, carries these fields beside those from outside. */
export function withLogContext<T>(fields: LogContext, work: () => T): T {
  return storage.run({ ...storage.getStore(), ...fields }, work);
}

/** Adds to the running context what became known later, such as the id of the job that a request made. */
export function addLogContext(fields: LogContext): void {
  const context = storage.getStore();
  if (context) Object.assign(context, fields);
}

/** The running context, itself and not a copy; undefined outside of any. */
export function logContext(): LogContext | undefined {
  return storage.getStore();
}

/** Goes on in a context that was kept, where an emitter's callback has lost it. */
export function inLogContext<T>(context: LogContext, work: () => T): T {
  return storage.run(context, work);
}
