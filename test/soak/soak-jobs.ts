import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { JobView } from '#gateway/jobs/job-view.js';
import type { JobSpecInput } from '#shared/job/job-spec.js';
import type { CallbackReceiver } from '../support/callback-receiver.js';
import type { FilePart } from '../support/client.js';
import type { Journal } from '../support/journal.js';
import type { Town } from '../support/town.js';
import type { Choice } from './choice.js';

/** A job that was accepted, and how it may end. */
export interface Accepted {
  readonly id: string;
  readonly kind: string;
  /** `state`, or `state reason`. */
  readonly ends: readonly string[];
  readonly calledBack: boolean;
}

interface Kind {
  readonly kind: string;
  readonly ends: readonly string[];
  readonly spec: (choice: Choice) => Partial<JobSpecInput> & { script: string };
  readonly files?: readonly FilePart[];
  readonly then?: (job: JobView) => Promise<void>;
}

const INPUT_BYTES = 300_000;

/** Submits jobs of all kinds and sees each to its end, as many at once as there are submitters. */
export class SoakJobs {
  readonly accepted: Accepted[] = [];
  private readonly kinds: readonly Kind[];

  constructor(
    private readonly town: Town,
    journal: Journal,
    private readonly receiver: CallbackReceiver,
    private readonly choice: Choice,
  ) {
    const ticks = (few: number, many: number, end?: string) => journal.script(choice.between(few, many), end);
    const said = 'head -c 200000 /dev/urandom > out.bin; sha256sum < out.bin';
    this.kinds = [
      { kind: 'short', ends: ['succeeded'], spec: () => ({ script: ticks(1, 3) }) },
      { kind: 'long', ends: ['succeeded'], spec: () => ({ script: ticks(40, 200) }) },
      {
        kind: 'failing',
        ends: ['failed exit_code'],
        spec: () => ({ script: ticks(1, 5, 'say failed; exit 3') }),
      },
      {
        kind: 'retried',
        ends: ['succeeded', 'failed exit_code'],
        spec: () => ({
          script: ticks(1, 5, 'test $LABHAND_ATTEMPT -ge 2'),
          retry: { tries: 4, backoff: 0.2 },
        }),
      },
      {
        kind: 'noisy',
        ends: ['succeeded'],
        spec: () => ({ script: ticks(2, 6, 'head -c 1500000 /dev/zero | tr "\\\\0" x') }),
      },
      {
        kind: 'with files',
        ends: ['succeeded'],
        files: [['file', 'in/input.txt', 'x'.repeat(INPUT_BYTES)]],
        spec: () => ({ script: ticks(1, 10, `test $(wc -c < in/input.txt) = ${INPUT_BYTES}; ${said}`) }),
      },
      {
        kind: 'deaf, with a child that hides',
        ends: ['succeeded'],
        spec: () => ({ script: `trap '' TERM; (setsid sleep 30 &); ${ticks(5, 40)}` }),
      },
      {
        kind: 'canceled',
        ends: ['canceled', 'succeeded'],
        spec: () => ({ script: ticks(20, 100) }),
        then: (job) => this.order(job, 'cancel'),
      },
      {
        kind: 'paused and resumed',
        ends: ['succeeded'],
        spec: () => ({ script: ticks(20, 60) }),
        then: async (job) => {
          await this.order(job, 'pause');
          await pause(choice.between(200, 2000));
          await this.order(job, 'resume');
        },
      },
      {
        kind: 'held and released',
        ends: ['succeeded'],
        spec: () => ({ script: ticks(1, 5), hold: true }),
        then: (job) => this.order(job, 'release'),
      },
    ];
  }

  /** Until `stop`; the jobs that are under way then come to their ends. */
  async submit(submitters: number, stop: AbortSignal): Promise<void> {
    const line = async () => {
      while (!stop.aborted) await this.one();
    };
    await Promise.all(Array.from({ length: submitters }, line));
  }

  private async one(): Promise<void> {
    const { choice } = this;
    const kind = choice.of(this.kinds);
    const calledBack = choice.chance(0.3);
    const { script, ...rest } = kind.spec(choice);
    const spec: JobSpecInput = {
      name: kind.kind,
      command: ['sh', '-ec', script],
      limits: { killGrace: 1, wallTime: 600 },
      ...(calledBack ? { callback: { url: this.receiver.url() } } : {}),
      ...rest,
    };
    const job = await this.submitSurely(spec, kind.files ?? []);
    this.accepted.push({ id: job.id, kind: kind.kind, ends: kind.ends, calledBack });
    if (kind.then) {
      await pause(choice.between(0, 3000));
      await kind.then(job);
    }
    await this.isOver(job);
  }

  /** As a careful client does: with a key, until there is an answer. */
  private async submitSurely(spec: JobSpecInput, files: readonly FilePart[]): Promise<JobView> {
    const key = { 'idempotency-key': randomUUID() };
    for (;;) {
      const client = this.choice.of(this.town.clients);
      const answering =
        files.length > 0 ? client.upload(spec, files, key) : client.post('/v1/jobs', spec, key);
      const answer = await answering.catch(() => undefined);
      if (answer?.status === 202) return answer.body;
      if (answer && answer.status !== 409 && answer.status < 500) {
        throw new Error(`a submission was refused: ${JSON.stringify(answer.body)}`);
      }
      await pause(200);
    }
  }

  /** Until it is heard; a state that forbids it, or a gateway that does not know the verb, is an answer too. */
  private async order(job: JobView, verb: string): Promise<void> {
    for (;;) {
      const client = this.choice.of(this.town.clients);
      const answer = await client.post(`/v1/jobs/${job.id}/${verb}`).catch(() => undefined);
      if (answer && answer.status < 500) return;
      await pause(200);
    }
  }

  private async isOver(job: JobView): Promise<void> {
    for (;;) {
      const client = this.choice.of(this.town.clients);
      const answer = await client.get(`/v1/jobs/${job.id}?wait=10`).catch(() => undefined);
      if (answer?.status === 200 && answer.body.finishedAt) return;
      if (answer?.status !== 200) await pause(200);
    }
  }
}
