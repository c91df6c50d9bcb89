import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { BehaviorSubject, filter, firstValueFrom, map } from 'rxjs';
import { CLAIMS_QUEUE, HEARTBEATS_QUEUE, LIVE_QUEUE, REPORTS_QUEUE } from '#shared/amqp/topology.js';
import { ChannelClient } from '#shared/channel/channel-client.js';
import { InProcessBroker } from '#shared/channel/in-process-broker.js';
import type {
  Claim,
  ClaimedJob,
  Finished,
  Heartbeat,
  LogChunk,
  Lost,
  Progress,
  RecordedReply,
  Register,
  RegisterReply,
} from '#shared/messages/messages.js';
import { serveFakeGateway } from './fake-gateway-server.js';

/** What a worker said so far. */
interface Heard {
  readonly finished: readonly Finished[];
  readonly lost: readonly Lost[];
  readonly logs: readonly LogChunk[];
  readonly progress: readonly Progress[];
  readonly heartbeats: readonly Heartbeat[];
  readonly registrations: readonly Register[];
}

export interface Upload {
  readonly body: Buffer;
  readonly headers: IncomingMessage['headers'];
}

/** The gateway's side of the worker's messages and files, held in memory, for tests of the worker alone. */
export class FakeGateway {
  readonly broker = new InProcessBroker();
  /** What `/files/<name>` answers. */
  readonly files = new Map<string, Buffer>();
  readonly uploads = new Map<string, Upload>();
  /** Statuses that the next uploads are answered with instead of 204. */
  readonly uploadFaults: number[] = [];
  /** Answers each registration. */
  onRegister: () => Promise<RegisterReply> = async () => ({ heartbeatSeconds: 0.1, leaseSeconds: 60 });
  /** Decides on each `finished`; a rejection is no answer. */
  onFinished: (report: Finished) => Promise<RecordedReply['status']> = async () => 'recorded';

  /** Sees each claim that comes by itself, and may hold up its answer. */
  onClaim: (claim: Claim) => unknown = () => undefined;
  /** Whether claims that come with reports are answered. */
  answersNext = true;
  /** Milliseconds for which claims wait whose slots can; else none does. */
  waits?: number;

  private readonly heard = new BehaviorSubject<Heard>({
    finished: [],
    lost: [],
    logs: [],
    progress: [],
    heartbeats: [],
    registrations: [],
  });
  private readonly waiting: ClaimedJob[] = [];
  private readonly claims = new Map<string, ClaimedJob | null>();
  private readonly client = new ChannelClient(this.broker);
  private readonly http: Server = createServer((request, response) => void this.serveFile(request, response));
  private closeServer: () => Promise<void> = async () => undefined;

  async start(): Promise<void> {
    this.http.listen(0, '127.0.0.1');
    await once(this.http, 'listening');
    await this.broker.connect();
    this.closeServer = await serveFakeGateway(this, this.broker, [
      CLAIMS_QUEUE,
      REPORTS_QUEUE,
      HEARTBEATS_QUEUE,
      LIVE_QUEUE,
    ]);
  }

  async close(): Promise<void> {
    await this.closeServer();
    await this.broker.close();
    this.http.closeAllConnections();
    await new Promise((resolve) => this.http.close(resolve));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.http.address() as AddressInfo).port}`;
  }

  get said(): Heard {
    return this.heard.value;
  }

  /** Makes a job wait and sends its ticket. */
  async give(part: Partial<ClaimedJob>): Promise<ClaimedJob> {
    const job = this.made(part);
    this.waiting.push(job);
    await this.sendTicket(job.queue);
    return job;
  }

  /** Sends one to a claim that waits. @param lasts whether the claim is still answered with it */
  async giveTo(
    { claimId }: { claimId: string },
    workerId: string,
    job: ClaimedJob,
    lasts = true,
  ): Promise<void> {
    if (lasts) this.claims.set(claimId, job);
    await this.client.tell('given', { claimId, job }, workerId);
  }

  made(part: Partial<ClaimedJob> = {}): ClaimedJob {
    return {
      jobId: randomUUID(),
      attempt: 1,
      queue: 'default',
      command: ['true'],
      env: {},
      inputs: [],
      outputs: [],
      limits: { wallTime: 60, killGrace: 5, output: 64 * 2 ** 20 },
      onOutputLimit: 'cut',
      filesToken: 'files-token',
      ...part,
    };
  }

  async sendTicket(queue: string): Promise<void> {
    await this.client.tell('ticket', { queue });
  }

  /** Says something to the worker. */
  async order(type: 'cancel' | 'abandon', { jobId, attempt }: ClaimedJob, workerId: string): Promise<void> {
    await this.client.tell(type, { jobId, attempt }, workerId);
  }

  /** Resolves with the first value that `pick` finds in what the worker said, now or later. */
  async until<T>(pick: (said: Heard) => T | undefined): Promise<T> {
    return firstValueFrom(
      this.heard.pipe(
        map(pick),
        filter((value) => value !== undefined),
      ),
    );
  }

  async outcomeOf({ jobId }: ClaimedJob): Promise<Finished['outcome']> {
    return this.until(({ finished }) => finished.find((report) => report.jobId === jobId)?.outcome);
  }

  /** Resolves when `text` stands in the live chunks of a job's stdout. */
  async printed({ jobId }: ClaimedJob, text: string): Promise<void> {
    await this.until(({ logs }) => {
      const mine = logs.filter((chunk) => chunk.jobId === jobId && chunk.stream === 'stdout');
      const all = Buffer.concat(mine.map((chunk) => Buffer.from(chunk.data, 'base64'))).toString();
      return all.includes(text) || undefined;
    });
  }

  hear<K extends keyof Heard>(kind: K, message: Heard[K][number]): void {
    this.heard.next({ ...this.heard.value, [kind]: [...this.heard.value[kind], message] });
  }

  /** How often jobs were asked for, by themselves or with a report. */
  get asked(): number {
    return this.claims.size;
  }

  claim(claimId: string): ClaimedJob | null {
    if (!this.claims.has(claimId)) this.claims.set(claimId, this.waiting.shift() ?? null);
    return this.claims.get(claimId) ?? null;
  }

  private async serveFile(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method, url = '', headers } = request;
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const file = this.files.get(url.replace('/files/', ''));
    const fault = method === 'PUT' ? this.uploadFaults.shift() : undefined;
    if (headers.authorization !== 'Bearer files-token') {
      response.writeHead(401).end();
    } else if (fault !== undefined) {
      response.writeHead(fault).end(JSON.stringify({ detail: 'as the test wants it' }));
    } else if (method === 'PUT') {
      this.uploads.set(url.replace('/v1/attempts/', ''), { body: Buffer.concat(chunks), headers });
      response.writeHead(204).end();
    } else {
      response.writeHead(file ? 200 : 404).end(file);
    }
  }
}
