import { Controller, Get, Param, Query, Req, Res } from '@nestjs/common';
import { ApiHeader, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { Readable } from 'node:stream';
import { z } from 'zod';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CurrentViewer, type Viewer } from '../auth/viewer.js';
import { ApiQueryOf } from '../http/api-query.js';
import { responseSchema } from '../http/api-schemas.js';
import { Problem } from '../http/problem.js';
import { parseQuery } from '../http/validate.js';
import { attemptKey } from './blob-keys.js';
import { BlobStore } from './blob-store.js';
import { JobFilesSource, type OutputsAttempt } from './job-files-source.js';
import { OutputArchive, type OutputFile } from './output-archive.js';
import { PartialFiles, type PartialFile, type RunningAttempt } from './partial-files.js';
import { sendFile } from './send-file.js';

export interface FileList {
  readonly files: readonly ((OutputFile | (PartialFile & { partial: true })) & { readonly href: string })[];
  readonly partial?: true;
  readonly more?: true;
}

const FILES = responseSchema(
  'FileList',
  z.object({
    files: z.array(
      z.object({
        path: z.string(),
        size: z.number(),
        href: z.string(),
        sha256: z.string().optional(),
        partial: z.literal(true).optional().describe('The command still runs and may go on writing to it'),
        modifiedAt: z.iso.datetime().optional(),
      }),
    ),
    partial: z.literal(true).optional().describe('What the running command has written so far'),
    more: z.literal(true).optional().describe('There are more files than are listed'),
  }),
);
const CONTENT = {
  content: { 'application/octet-stream': { schema: { type: 'string', format: 'binary' } } },
};
const RANGE = {
  name: 'Range',
  description: 'bytes=0-1023: only that part, answered with 206',
  required: false,
};

const filesQuery = z.strictObject({
  attempt: z.coerce
    .number()
    .int()
    .min(1)
    .max(999_999_999)
    .optional()
    .describe('Of this attempt; by default the latest one'),
});

/** The output files of a job. */
@ApiTags('files')
@Controller('v1/jobs/:id')
export class JobFilesController {
  constructor(
    private readonly source: JobFilesSource,
    private readonly archive: OutputArchive,
    private readonly partial: PartialFiles,
    private readonly store: BlobStore,
  ) {}

  @Get('files')
  @ApiOperation({ summary: 'List the output files, while the command runs those that it has so far' })
  @ApiResponse({ status: 200, description: 'Every file, with size and hash', schema: FILES })
  @ApiQueryOf(filesQuery)
  async list(
    @Param('id') id: string,
    @Query() query: unknown,
    @CurrentViewer() viewer: Viewer,
  ): Promise<FileList> {
    const asked = parseQuery(filesQuery, query).attempt;
    const outputs = await this.source.outputsOf(id, viewer, asked);
    if (!outputs) return { files: [] };
    if (outputs.runsOn !== undefined)
      return this.listPartial({ jobId: id, attempt: outputs.attempt, workerId: outputs.runsOn });
    const files = await this.archive.list(id, outputs.attempt);
    return { files: files.map((file) => ({ ...file, href: hrefOf(id, file.path, asked) })) };
  }

  @Get('files/*')
  @ApiOperation({ summary: 'Fetch one output file, while the command runs as it is now' })
  @ApiQueryOf(filesQuery)
  @ApiHeader(RANGE)
  @ApiResponse({ status: 200, description: 'The file', ...CONTENT })
  async file(
    @Param('id') id: string,
    @Param('*') path: string,
    @Query() query: unknown,
    @CurrentViewer() viewer: Viewer,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { attempt, runsOn } = await this.outputs(id, viewer, query);
    if (runsOn !== undefined) {
      return this.sendPartial({ jobId: id, attempt, workerId: runsOn }, path, request, reply);
    }
    const file = (await this.archive.list(id, attempt)).find((listed) => listed.path === path);
    if (!file) throw noSuchFile(id, path);
    await sendFile(request, reply, {
      name: path,
      size: file.size,
      version: file.sha256,
      open: (span) => this.archive.read(id, attempt, file, span),
    });
  }

  @Get('archive.zip')
  @ApiOperation({ summary: 'Fetch all output files as a zip archive' })
  @ApiQueryOf(filesQuery)
  @ApiHeader(RANGE)
  @ApiResponse({ status: 200, description: 'The archive', ...CONTENT })
  async whole(
    @Param('id') id: string,
    @Query() query: unknown,
    @CurrentViewer() viewer: Viewer,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { attempt, runsOn } = await this.outputs(id, viewer, query);
    if (runsOn !== undefined) throw noOutputs();
    const key = attemptKey(id, attempt, 'outputs.zip');
    const found = await this.store.stat(key);
    if (!found) throw new Error(`the archive ${key} is gone`);
    await sendFile(request, reply, {
      name: `${id}.zip`,
      size: found.size,
      // The archive of an attempt is never changed once it is recorded.
      version: `${id}.${attempt}`,
      open: (span) => this.store.read(key, span),
    });
  }

  private async listPartial(running: RunningAttempt): Promise<FileList> {
    const { files, more } = await this.partial.list(running);
    const hrefs = files.map((file) => ({
      ...file,
      partial: true as const,
      href: hrefOf(running.jobId, file.path),
    }));
    return { partial: true, files: hrefs, ...(more ? { more } : {}) };
  }

  private async sendPartial(
    running: RunningAttempt,
    path: string,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<void> {
    const [file] = (await this.partial.list(running, path)).files;
    if (!file) throw noSuchFile(running.jobId, path);
    await sendFile(request, reply, {
      name: path,
      size: file.size,
      version: `partial.${running.attempt}.${file.size}.${Date.parse(file.modifiedAt)}`,
      open: (span) =>
        file.size === 0 ? Promise.resolve(Readable.from([])) : this.partial.read(running, path, span),
    });
  }

  private async outputs(id: string, viewer: Viewer, query: unknown): Promise<OutputsAttempt> {
    const { attempt } = parseQuery(filesQuery, query);
    const outputs = await this.source.outputsOf(id, viewer, attempt);
    if (outputs) return outputs;
    throw noOutputs();
  }
}

function noOutputs(): Problem {
  return new Problem(
    404,
    'no_outputs',
    'The job has no output files: either it has not ended, or its command wrote none that match "outputs".',
  );
}

function noSuchFile(id: string, path: string): Problem {
  return new Problem(
    404,
    'not_found',
    `The job has no output file ${JSON.stringify(path.slice(0, 200))}; /v1/jobs/${id}/files lists what there is.`,
  );
}

function hrefOf(id: string, path: string, attempt?: number): string {
  const query = attempt === undefined ? '' : `?attempt=${attempt}`;
  return `/v1/jobs/${id}/files/${path.split('/').map(encodeURIComponent).join('/')}${query}`;
}
