/** How far a client has read a job's logs: the attempt, and bytes of each stream. */
export interface LogPlace {
  readonly attempt: number;
  readonly stdout: number;
  readonly stderr: number;
}

/** As the id of an event: `<attempt>.<bytes of stdout>.<bytes of stderr>`, with `.end` after the last event. */
export function placeId({ attempt, stdout, stderr }: LogPlace, isEnd = false): string {
  return `${attempt}.${stdout}.${stderr}${isEnd ? '.end' : ''}`;
}

/** @returns undefined when it is no id of ours */
export function parsePlaceId(id: string): (LogPlace & { isEnd: boolean }) | undefined {
  const match = /^([1-9]\d{0,8})\.(\d{1,15})\.(\d{1,15})(\.end)?$/.exec(id);
  if (!match) return undefined;
  const [, attempt, stdout, stderr, end] = match;
  return {
    attempt: Number(attempt),
    stdout: Number(stdout),
    stderr: Number(stderr),
    isEnd: end !== undefined,
  };
}
