import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { JobView } from '#gateway/jobs/job-view.js';
import type { FilePart } from './client.js';
import type { Journal } from './journal.js';
import { eventually } from './signals.js';
import type { TcpProxy, Trap } from './tcp-proxy.js';
import type { Town } from './town.js';
import { allOf } from './wires.js';

/** Where on its path a job stands when something happens to the parts around it. */
export const MOMENTS = [
  'before its claim',
  'at its claim',
  'while it runs',
  'at its upload',
  'at its finish',
  'at its record',
] as const;
export type Moment = (typeof MOMENTS)[number];

/** Each moment has a queue of its own, with a worker of its own of one slot: what holds one job holds no other. */
export const QUEUES = MOMENTS.map((moment) => `${queueOf(moment)}:1`);

/** On which wire a job is held at its claim and at its record, and on which at its upload. */
export interface Holds {
  /** `answer`: the gateway has done it, and its worker does not know. `commit`: the database has, and nobody knows. */
  readonly request: 'answer' | 'commit';
  readonly upload: 'gateway' | 'store';
}

/** As AMQP has the type of a message: behind its length. */
const CLAIM = '\x05claim';
const FINISHED = '\x08finished';
/** As Postgres gets a claim, which is JSON. */
const claimRow = (queue: string) => `"queue":"${queue}","worker":"`;
/** As Postgres gets the name of a prepared statement when it runs it. */
const FINISH_STATEMENT = '\0finish\0';

/** More than a socket takes at once, and than a disk that is full for the test. */
const MANY_BYTES = 600_000;
const WRITES_AN_OUTPUT = `head -c ${MANY_BYTES} /dev/urandom > out.bin; sha256sum < out.bin`;
const INPUT: readonly FilePart[] = [['file', 'input.txt', 'x'.repeat(MANY_BYTES)]];
const READS_ITS_INPUT = `test $(wc -c < input.txt) = ${MANY_BYTES}`;
const REACH_MS = 30_000;

/** Brings one job to each moment and holds it there. */
export class Stage {
  private readonly jobs = new Map<Moment, JobView>();
  private readonly doors: string[] = [];

  constructor(
    private readonly town: Town,
    private readonly journal: Journal,
    private readonly holds: Holds,
  ) {}

  /**
   * Who shares a wire with others comes alone: to the store first, lest the trap takes another upload for its own; to
   * the database last, for a claim that hangs there lets others wait behind it.
   */
  async reach(moments: readonly Moment[]): Promise<void> {
    const first: Moment[] = this.holds.upload === 'store' ? ['at its upload'] : [];
    const last: Moment[] = this.holds.request === 'commit' ? ['at its record', 'at its claim'] : [];
    const alone = [...first, ...last];
    for (const moment of first) if (moments.includes(moment)) await this.bring(moment);
    await Promise.all(
      moments.filter((moment) => !alone.includes(moment)).map((moment) => this.bring(moment)),
    );
    for (const moment of last) if (moments.includes(moment)) await this.bring(moment);
  }

  /** Lets every job go on its way. */
  release(): void {
    for (const door of this.doors.splice(0)) writeFileSync(door, '');
    for (const wire of allOf(this.town.wires)) wire.release();
  }

  idOf(moment: Moment): string {
    return this.jobs.get(moment)!.id;
  }

  /** Resolves with the job when it is final, by whatever the gateway says of it. */
  async final(moment: Moment): Promise<JobView> {
    const path = `/v1/jobs/${this.idOf(moment)}`;
    await eventually(
      async () => {
        const answer = await this.town.client.get(`${path}?wait=5`).catch(() => undefined);
        return answer?.status === 200 && answer.body.finishedAt !== undefined;
      },
      true,
      60_000,
    );
    return (await this.town.client.get(path)).body;
  }

  private async bring(moment: Moment): Promise<void> {
    if (moment === 'before its claim') await this.waitsInItsQueue(moment);
    else if (moment === 'at its claim') await this.isClaimed(moment);
    else if (moment === 'while it runs') await this.runs(moment);
    else if (moment === 'at its upload') await this.uploads(moment);
    else await this.reports(moment);
  }

  /** Behind another one that has the only slot. */
  private async waitsInItsQueue(moment: Moment): Promise<void> {
    await this.runs(moment);
    await this.submit(moment, this.journal.script(1, READS_ITS_INPUT), INPUT);
  }

  /**
   * A claim of its queue is answered, and the answer does not arrive. That may be a claim for a ticket too many: then
   * once more.
   */
  private async isClaimed(moment: Moment): Promise<void> {
    const { request } = this.holds;
    const wire = request === 'answer' ? this.wire('workerBroker', moment) : this.town.wires.gatewayDatabase;
    const text = request === 'answer' ? CLAIM : claimRow(queueOf(moment));
    for (let round = 0; ; round++) {
      const claimed = wire.trap({ direction: 'out', text, hold: 'in' });
      if (round === 0) await this.submit(moment, this.journal.script(1, READS_ITS_INPUT), INPUT);
      await soon(claimed, `no claim of ${queueOf(moment)} came`);
      const running = this.state(moment, 'running', 2_000);
      if (
        await running.then(
          () => true,
          () => false,
        )
      ) {
        return;
      }
      if (round === 5) return running;
      wire.release();
    }
  }

  private async runs(moment: Moment): Promise<void> {
    const door = join(this.town.folder, `door-${queueOf(moment)}-${Date.now()}`);
    this.doors.push(door);
    const wait = `until [ -e ${door} ]; do sleep 0.05; say tick; done`;
    const job = await this.submit(moment, this.journal.script(0, `${wait}; ${WRITES_AN_OUTPUT}`));
    await eventually(() => this.journal.of(job.id).includes('tick 1'), true, REACH_MS);
  }

  /** The first part of its archive is with the gateway, or with the store. */
  private async uploads(moment: Moment): Promise<void> {
    const trap: Trap = { direction: 'out', text: 'outputs.zip', hold: 'out', passes: true };
    const { gatewayBlobs } = this.town.wires;
    const wire = this.holds.upload === 'store' ? gatewayBlobs! : this.wire('workerGateway', moment);
    const uploading = wire.trap(trap);
    await this.submit(moment, this.journal.script(1, WRITES_AN_OUTPUT));
    await soon(uploading, 'no upload came');
  }

  /** Its report has not left, or it is recorded and the worker does not know. Its outcome stands on the disk. */
  private async reports(moment: 'at its finish' | 'at its record'): Promise<void> {
    const worker = this.wire('workerBroker', moment);
    const [wire, trap]: [TcpProxy, Trap] =
      moment === 'at its finish'
        ? [worker, { direction: 'out', text: FINISHED, hold: 'out' }]
        : this.holds.request === 'answer'
          ? [worker, { direction: 'out', text: FINISHED, hold: 'in' }]
          : [this.town.wires.gatewayDatabase, { direction: 'out', text: FINISH_STATEMENT, hold: 'in' }];
    const reporting = wire.trap(trap);
    await this.submit(moment, this.journal.script(1, 'echo a result > result.txt'));
    await soon(reporting, 'no report came');
    if (moment === 'at its record') await this.state(moment, 'succeeded', REACH_MS);
  }

  private async submit(moment: Moment, script: string, files: readonly FilePart[] = []): Promise<JobView> {
    const spec = { queue: queueOf(moment), command: ['sh', '-ec', script], limits: { killGrace: 1 } };
    const { client } = this.town;
    const { status, body } =
      files.length === 0 ? await client.post('/v1/jobs', spec) : await client.upload(spec, files);
    if (status !== 202) throw new Error(`a job was not taken: ${JSON.stringify(body)}`);
    this.jobs.set(moment, body);
    return body;
  }

  private wire(name: 'workerBroker' | 'workerGateway', moment: Moment): TcpProxy {
    return this.town.wires[name][MOMENTS.indexOf(moment)]!;
  }

  private state(moment: Moment, state: string, withinMs: number): Promise<void> {
    const ask = async () => {
      const rows = await this.town.rows<{ state: string }>('SELECT state FROM jobs WHERE id = $1', [
        this.idOf(moment),
      ]);
      return rows[0]!.state;
    };
    return eventually(ask, state, withinMs);
  }
}

/** @throws {Error} what was waited for did not come; what the programs said tells why */
async function soon(promise: Promise<void>, fault: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(fault)), REACH_MS);
  });
  await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

export function queueOf(moment: Moment): string {
  return moment.replaceAll(' ', '-');
}
