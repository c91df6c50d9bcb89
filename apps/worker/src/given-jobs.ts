import type { ClaimedJob } from '#shared/messages/messages.js';

/** A claim that a job may come to by itself. */
export interface Expected {
  readonly job: Promise<ClaimedJob>;
  /** What has come so far. */
  came(): ClaimedJob | undefined;
  /** Whatever comes from now on comes too late. */
  forget(): void;
}

/** Jobs that come by themselves, to claims that wait at a gateway. */
export class GivenJobs {
  private readonly expected = new Map<string, (job: ClaimedJob) => void>();

  expect(claimId: string): Expected {
    let came: ClaimedJob | undefined;
    const job = new Promise<ClaimedJob>((resolve) =>
      this.expected.set(claimId, (job) => {
        came = job;
        resolve(job);
      }),
    );
    return { job, came: () => came, forget: () => void this.expected.delete(claimId) };
  }

  /** @returns false when no claim of this id expects one any more */
  arrived(claimId: string, job: ClaimedJob): boolean {
    this.expected.get(claimId)?.(job);
    return this.expected.has(claimId);
  }
}
