import { Controller, Get, Param, Req, Res } from '@nestjs/common';
import { ApiHeader, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import { z } from 'zod';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { CurrentViewer, type Viewer } from '../auth/viewer.js';
import { responseSchema } from '../http/api-schemas.js';
import { Problem } from '../http/problem.js';
import { attemptKey } from './blob-keys.js';
import { BlobStore } from './blob-store.js';
import { JobFilesSource } from './job-files-source.js';
import { OutputArchive, type OutputFile } from './output-archive.js';
import { sendFile } from './send-file.js';

export interface ListedFile extends OutputFile {
  readonly href: string;
}

const FILES = responseSchema(
  'FileList',
  z.object({
    files: z.array(z.object({ path: z.string(), size: z.number(), sha256: z.string(), href: z.string() })),
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

/** The output files of a job. */
@ApiTags('files')
@Controller('v1/jobs/:id')
export class JobFilesController {
  constructor(
    private readonly source: JobFilesSource,
    private readonly archive: OutputArchive,
    private readonly store: BlobStore,
  ) {}

  @Get('files')
  @ApiOperation({ summary: 'List the output files' })
  @ApiResponse({ status: 200, description: 'Every file, with size and hash', schema: FILES })
  async list(@Param('id') id: string, @CurrentViewer() viewer: Viewer): Promise<{ files: ListedFile[] }> {
    const outputs = await this.source.outputsOf(id, viewer);
    if (!outputs) return { files: [] };
    const files = await this.archive.list(id, outputs.attempt);
    return { files: files.map((file) => ({ ...file, href: hrefOf(id, file.path) })) };
  }

  @Get('files/*')
  @ApiOperation({ summary: 'Fetch one output file' })
  @ApiHeader(RANGE)
  @ApiResponse({ status: 200, description: 'The file', ...CONTENT })
  async file(
    @Param('id') id: string,
    @Param('*') path: string,
    @CurrentViewer() viewer: Viewer,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { attempt } = await this.outputs(id, viewer);
    const file = (await this.archive.list(id, attempt)).find((listed) => listed.path === path);
    if (!file) {
      throw new Problem(
        404,
        'not_found',
        `The job has no output file ${JSON.stringify(path.slice(0, 200))}; /v1/jobs/${id}/files lists what there is.`,
      );
    }
    await sendFile(request, reply, {
      name: path,
      size: file.size,
      version: file.sha256,
      open: (span) => this.archive.read(id, attempt, file, span),
    });
  }

  @Get('archive.zip')
  @ApiOperation({ summary: 'Fetch all output files as a zip archive' })
  @ApiHeader(RANGE)
  @ApiResponse({ status: 200, description: 'The archive', ...CONTENT })
  async whole(
    @Param('id') id: string,
    @CurrentViewer() viewer: Viewer,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    const { attempt } = await this.outputs(id, viewer);
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

  private async outputs(id: string, viewer: Viewer): Promise<{ attempt: number }> {
    const outputs = await this.source.outputsOf(id, viewer);
    if (outputs) return outputs;
    throw new Problem(
      404,
      'no_outputs',
      'The job has no output files: either it has not ended, or its command wrote none that match "outputs".',
    );
  }
}

function hrefOf(id: string, path: string): string {
  return `/v1/jobs/${id}/files/${path.split('/').map(encodeURIComponent).join('/')}`;
}
