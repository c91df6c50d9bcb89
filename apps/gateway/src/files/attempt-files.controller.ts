import { Controller, Get, Headers, HttpCode, Param, Put, Req, Res } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import { ApiExcludeController } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Readable } from 'node:stream';
import { z } from 'zod';
import { Public } from '../auth/public.decorator.js';
import { Problem } from '../http/problem.js';
import { AttemptGate } from './attempt-gate.js';
import { AttemptTokens } from './attempt-token.js';
import { ATTEMPT_FILES, attemptKey, inputKey, partialKey, type AttemptFile } from './blob-keys.js';
import { BlobStore } from './blob-store.js';
import { MOST_PARTIAL_BYTES } from './partial-files.js';
import { bodyChunks, discardRest, storingFault } from './request-body.js';
import { STREAM_BODY } from './stream-bodies.js';

/** The files of one attempt, for the worker that runs it: the token that came with its claim opens them. */
@ApiExcludeController()
@Public()
@Controller('v1/attempts/:jobId/:attempt')
export class AttemptFilesController {
  constructor(
    private readonly tokens: AttemptTokens,
    private readonly gate: AttemptGate,
    private readonly store: BlobStore,
  ) {}

  @Get('inputs/:index')
  async input(
    @Param('jobId') jobId: string,
    @Param('attempt') attempt: string,
    @Param('index') index: string,
    @Res() reply: FastifyReply,
    @Headers('authorization') authorization?: string,
  ): Promise<void> {
    await this.authorize(authorization, jobId, attempt);
    const key = inputKey(jobId, wholeNumber(index));
    const found = await this.store.stat(key);
    if (!found) throw new Problem(404, 'not_found', `The job has no stored input ${index}.`);
    const stream = await this.store.read(key);
    void reply
      .headers({ 'content-type': 'application/octet-stream', 'content-length': found.size })
      .send(stream);
  }

  /** Sent again, a file replaces the one before. */
  @Put(':file')
  @HttpCode(204)
  @RouteConfig(STREAM_BODY)
  async put(
    @Param('jobId') jobId: string,
    @Param('attempt') attempt: string,
    @Param('file') file: string,
    @Req() request: FastifyRequest,
    @Headers('authorization') authorization?: string,
    @Headers('content-length') length?: string,
    @Headers('content-digest') digest?: string,
  ): Promise<void> {
    try {
      const number = await this.authorize(authorization, jobId, attempt);
      const key = attemptKey(jobId, number, knownFile(file));
      await this.refuseStale(jobId, number);
      const body = Readable.from(bodyChunks(request.body as Readable), { objectMode: false });
      const size = length === undefined ? undefined : Number(length);
      await this.store.write(key, body, { size, sha256: sha256Of(digest) });
    } catch (error) {
      discardRest(request.raw);
      throw storingFault(error);
    }
  }

  /** A part of a file of a running attempt, for the client that waits for it. */
  @Put('partial/:transfer')
  @HttpCode(204)
  @RouteConfig(STREAM_BODY)
  async putPartial(
    @Param('jobId') jobId: string,
    @Param('attempt') attempt: string,
    @Param('transfer') transfer: string,
    @Req() request: FastifyRequest,
    @Headers('authorization') authorization?: string,
    @Headers('content-length') length?: string,
  ): Promise<void> {
    try {
      const number = await this.authorize(authorization, jobId, attempt);
      if (!z.uuid().safeParse(transfer).success) {
        throw new Problem(
          404,
          'not_found',
          'There is no such transfer; expected the id that came with the order.',
        );
      }
      await this.refuseStale(jobId, number);
      const size = Number(length);
      if (!(size <= MOST_PARTIAL_BYTES)) throw tooLarge();
      const body = Readable.from(bodyChunks(request.body as Readable, size, tooLarge), { objectMode: false });
      await this.store.write(partialKey(jobId, transfer), body, { size });
    } catch (error) {
      discardRest(request.raw);
      throw storingFault(error);
    }
  }

  private async authorize(
    authorization: string | undefined,
    jobId: string,
    attempt: string,
  ): Promise<number> {
    const token = /^Bearer ([\w-]+)$/i.exec(authorization ?? '')?.[1];
    const number = wholeNumber(attempt);
    if (token && (await this.tokens.check(token, jobId, number))) return number;
    throw new Problem(
      401,
      'unauthenticated',
      'The token does not open the files of this attempt; send the one that came with its claim.',
      { headers: { 'www-authenticate': 'Bearer' } },
    );
  }

  private async refuseStale(jobId: string, attempt: number): Promise<void> {
    if (await this.gate.isCurrent(jobId, attempt)) return;
    throw new Problem(
      409,
      'stale_attempt',
      `Attempt ${attempt} is not the job's current one any more; its files are not taken, so drop them.`,
    );
  }
}

function tooLarge(): Problem {
  return new Problem(
    413,
    'payload_too_large',
    `A part of a file has at most ${MOST_PARTIAL_BYTES} bytes, and its length is said in the request.`,
  );
}

function wholeNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new Problem(404, 'not_found', `There is no ${JSON.stringify(text.slice(0, 50))}; expected a number.`);
}

/** RFC 9530; in hex. Undefined where none is announced, or only by another algorithm. */
function sha256Of(digest: string | undefined): string | undefined {
  const encoded = /(?:^|,)\s*sha-256=:([A-Za-z0-9+/]{43}=):/.exec(digest ?? '')?.[1];
  return encoded && Buffer.from(encoded, 'base64').toString('hex');
}

function knownFile(file: string): AttemptFile {
  if ((ATTEMPT_FILES as readonly string[]).includes(file)) return file as AttemptFile;
  throw new Problem(
    404,
    'not_found',
    `An attempt has no such file; expected one of ${ATTEMPT_FILES.join(', ')}.`,
  );
}
