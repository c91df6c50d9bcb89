import { mkdtemp, readdir, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import {
  Body,
  Controller,
  Injectable,
  Module,
  Post,
  Req,
  type CanActivate,
  type ExecutionContext,
} from '@nestjs/common';
import { APP_GUARD, NestFactory } from '@nestjs/core';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyRequest } from 'fastify';
import { ChannelClient } from '#shared/channel/channel-client.js';
import type { Viewer } from '#gateway/auth/viewer.js';
import { Secrets } from '#gateway/database/secrets.js';
import { AttemptFilesController } from '#gateway/files/attempt-files.controller.js';
import { AttemptGate } from '#gateway/files/attempt-gate.js';
import { AttemptTokens } from '#gateway/files/attempt-token.js';
import { BlobStore, type BlobDigest, type ByteRange, type WriteOptions } from '#gateway/files/blob-store.js';
import { DirectoryBlobStore } from '#gateway/files/directory-blob-store.js';
import { JobFilesController } from '#gateway/files/job-files.controller.js';
import { JobFilesSource } from '#gateway/files/job-files-source.js';
import { OutputArchive } from '#gateway/files/output-archive.js';
import { PartialFiles } from '#gateway/files/partial-files.js';
import { receiveSubmission, type FileTerms } from '#gateway/files/receive-files.js';
import { StreamBodies } from '#gateway/files/stream-bodies.js';
import { createFastifyAdapter } from '#gateway/http/fastify.js';
import { HttpModule } from '#gateway/http/http.module.js';
import { Problem } from '#gateway/http/problem.js';

export const JOB_ID = '0190b0de-0000-7000-8000-000000000001';
export const MAX_UPLOAD = 300 * 2 ** 20;
export const MAX_FILES = 20;

/** A directory whose writes and reads a test can wait for. */
export class WatchedBlobStore extends DirectoryBlobStore {
  /** Each write, settled or not, whatever became of it. */
  readonly writes: Promise<unknown>[] = [];
  readonly reads: Readable[] = [];
  private onWrite: (() => void) | undefined;

  /** Resolves when the next write begins. */
  nextWrite(): Promise<void> {
    return new Promise((resolve) => (this.onWrite = resolve));
  }

  override write(key: string, stream: Readable, options?: WriteOptions): Promise<BlobDigest> {
    const written = super.write(key, stream, options);
    this.writes.push(written.catch(() => undefined));
    this.onWrite?.();
    return written;
  }

  override async read(key: string, range?: ByteRange): Promise<Readable> {
    const stream = await super.read(key, range);
    this.reads.push(stream);
    return stream;
  }

  /** Every file in the directory, named or not. */
  async files(): Promise<string[]> {
    const entries = await readdir(this.directory, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
  }
}

/** What a test decides about jobs, which stand in no database here. */
export class Jobs {
  current = true;
  outputs: { attempt: number } | undefined;
  terms: (job: unknown) => FileTerms = () => ({ maxUpload: MAX_UPLOAD });
  settled: Promise<unknown> = Promise.resolve();
}

@Controller('v1/jobs')
class SubmitController {
  constructor(
    private readonly store: BlobStore,
    private readonly jobs: Jobs,
  ) {}

  @Post()
  async submit(@Req() request: FastifyRequest, @Body() body: unknown): Promise<unknown> {
    if (!request.isMultipart()) return { body };
    const received = receiveSubmission(request, {
      store: this.store,
      jobId: JOB_ID,
      maxFiles: MAX_FILES,
      beforeFiles: async (job) => this.jobs.terms(job),
    });
    this.jobs.settled = received.catch(() => undefined);
    return received;
  }
}

@Injectable()
class EverybodyIsAda implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const viewer: Viewer = { keyId: 'k', owner: 'ada', role: 'submitter' };
    context.switchToHttp().getRequest<FastifyRequest>().viewer = viewer;
    return true;
  }
}

@Injectable()
class TestGate extends AttemptGate {
  constructor(private readonly jobs: Jobs) {
    super();
  }
  override async isCurrent(): Promise<boolean> {
    return this.jobs.current;
  }
}

@Injectable()
class TestSource extends JobFilesSource {
  constructor(private readonly jobs: Jobs) {
    super();
  }
  override async outputsOf(jobId: string): Promise<{ attempt: number } | undefined> {
    if (jobId !== JOB_ID) throw new Problem(404, 'not_found', `There is no job ${jobId}.`);
    return this.jobs.outputs;
  }
}

export interface FilesApp<S extends WatchedBlobStore = WatchedBlobStore> {
  readonly url: string;
  readonly port: number;
  readonly store: S;
  readonly jobs: Jobs;
  readonly tokens: AttemptTokens;
  stop(): Promise<void>;
}

/** The file routes of the gateway on a free port, with a directory for blobs and no database. */
export async function startFilesApp(): Promise<FilesApp>;
export async function startFilesApp<S extends WatchedBlobStore>(
  make: (directory: string) => S,
): Promise<FilesApp<S>>;
export async function startFilesApp(
  make = (directory: string) => new WatchedBlobStore(directory),
): Promise<FilesApp> {
  const directory = await mkdtemp(join(tmpdir(), 'labhand-files-'));
  const store = make(directory);
  const jobs = new Jobs();

  @Module({
    imports: [HttpModule],
    controllers: [SubmitController, AttemptFilesController, JobFilesController],
    providers: [
      { provide: APP_GUARD, useClass: EverybodyIsAda },
      { provide: BlobStore, useValue: store },
      { provide: Jobs, useValue: jobs },
      { provide: Secrets, useValue: { get: async () => 'a secret' } },
      { provide: AttemptGate, useClass: TestGate },
      { provide: JobFilesSource, useClass: TestSource },
      AttemptTokens,
      OutputArchive,
      PartialFiles,
      { provide: ChannelClient, useValue: {} },
      StreamBodies,
    ],
  })
  class FilesModule {}

  const app = await NestFactory.create<NestFastifyApplication>(FilesModule, createFastifyAdapter(), {
    logger: false,
  });
  await app.listen(0, '127.0.0.1');
  const { port } = app.getHttpServer().address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    store,
    jobs,
    tokens: app.get(AttemptTokens),
    stop: async () => {
      await app.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
