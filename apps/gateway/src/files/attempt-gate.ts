/** Whether an attempt may still hand in files. */
export abstract class AttemptGate {
  abstract isCurrent(jobId: string, attempt: number): Promise<boolean>;
}
