import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import type { MultipartFile } from '@fastify/multipart';
import type { FastifyRequest } from 'fastify';
import { ARCHIVE_ENDINGS, archiveFormat, type ArchiveFormat } from '#shared/archive/archive.js';
import type { ArchiveEntry } from '#shared/archive/archive-entry.js';
import { ArchiveError } from '#shared/archive/archive-error.js';
import { ARCHIVE_LIMITS } from '#shared/archive/entry-rules.js';
import { inspectArchive } from '#shared/archive/inspect.js';
import { didYouMean } from '#shared/config/nearest-name.js';
import { clashSentence } from '#shared/job/job-spec.js';
import { PathSet } from '#shared/job/path-set.js';
import { relativePathFault } from '#shared/job/relative-path.js';
import { parseJson } from '../http/json-body.js';
import { Problem, type ProblemCode } from '../http/problem.js';
import { inputKey, jobPrefix } from './blob-keys.js';
import type { BlobStore } from './blob-store.js';
import { bodyChunks, bodyIncomplete, discardRest, storingFault } from './request-body.js';

/** One file part or archive, as it lies in the blob store. */
export interface StoredInput {
  /** Where it lands in the workspace; of an archive only its name. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  readonly sha256: string;
  readonly key: string;
  readonly archive?: ArchiveFormat;
  /** What the archive unpacks to. */
  readonly entries?: readonly ArchiveEntry[];
}

export interface FileTerms {
  /** Bytes of one file part or archive. */
  readonly maxUpload: number;
  /** Paths in the workspace that are given away already, such as those of inputs inside the JSON. */
  readonly taken?: readonly string[];
}

export interface Reception {
  readonly store: BlobStore;
  readonly jobId: string;
  /** Sees the job before the first file is taken; a `Problem` that it throws is the answer. */
  beforeFiles(job: unknown): Promise<FileTerms>;
  readonly maxFiles?: number;
}

const MAX_JOB_BYTES = 4 * 2 ** 20;
const MAX_FILES = 10_000;
const FILE_PARTS = ['file', 'archive'] as const;
type FilePart = (typeof FILE_PARTS)[number];

/**
 * Takes the multipart form of a submission: first a part `job` with JSON, then any number of parts `file`, whose file
 * name is the path in the workspace, and `archive`, whose file name tells the format. Files stream to the blob store.
 * Whatever fails, nothing of the job stays there and the rest of the body is read away.
 * @throws {Problem} naming the part and the remedy
 */
export async function receiveSubmission(
  request: FastifyRequest,
  reception: Reception,
): Promise<{ job: unknown; files: StoredInput[] }> {
  try {
    return await receive(request, reception);
  } catch (error) {
    discardRest(request.raw);
    // What cannot be removed now is found by the sweep of orphan files.
    await reception.store.removeAll(jobPrefix(reception.jobId)).catch(() => undefined);
    throw storingFault(error);
  }
}

async function receive(
  request: FastifyRequest,
  reception: Reception,
): Promise<{ job: unknown; files: StoredInput[] }> {
  const { jobId, store, maxFiles = MAX_FILES } = reception;
  const files: StoredInput[] = [];
  let job: { value: unknown; terms: FileTerms; paths: PathSet } | undefined;
  for await (const part of partsOf(request, maxFiles)) {
    if (!job) {
      const value = await readJob(part);
      const terms = await reception.beforeFiles(value);
      job = { value, terms, paths: new PathSet() };
      for (const path of terms.taken ?? []) claimPath(job.paths, path, 'inputs');
      continue;
    }
    const kind = kindOf(part);
    const at = `${kind}[${files.length}]`;
    const path = pathOf(part, at);
    const archive = kind === 'archive' ? formatOf(path, at) : undefined;
    if (!archive) claimPath(job.paths, path, at);
    const key = inputKey(jobId, files.length);
    const { maxUpload } = job.terms;
    const body = bodyChunks(part.file, maxUpload, () => tooLarge(path, maxUpload, at));
    const digest = await store.write(key, Readable.from(body, { objectMode: false }));
    const entries = archive && (await inspect(store, key, digest.size, archive, path, at));
    for (const entry of entries ?? []) claimPath(job.paths, entry.path, at);
    files.push({ path, ...digest, key, ...(archive ? { archive, entries } : {}) });
  }
  if (!job) throw fault('invalid_request', 'job', 'The form has no part "job"; send the job as JSON in it.');
  return { job: job.value, files };
}

/** @throws {Problem} the form cannot be read */
async function* partsOf(request: FastifyRequest, maxFiles: number): AsyncIterable<MultipartFile> {
  try {
    yield* request.parts({ limits: { parts: maxFiles + 1 } }) as AsyncIterable<MultipartFile>;
  } catch (error) {
    throw formFault(error, maxFiles);
  }
}

function formFault(error: unknown, maxFiles: number): Problem {
  const { code, message } = error as { code?: string; message: string };
  if (code === 'FST_PARTS_LIMIT') {
    return new Problem(
      413,
      'payload_too_large',
      `The form has more than ${maxFiles} files; put them into one archive.`,
    );
  }
  if (code === 'FST_MP_PREMATURE_CLOSE' || /unexpected end|terminated early/i.test(message)) {
    return bodyIncomplete(error);
  }
  return new Problem(
    400,
    'invalid_multipart',
    `The form cannot be read (${message}); send multipart/form-data with the parts "job", "file" and "archive".`,
    { cause: error },
  );
}

async function readJob(part: MultipartFile): Promise<unknown> {
  if (part.fieldname !== 'job') {
    throw fault(
      'invalid_request',
      'job',
      `The first part of the form is ${JSON.stringify(part.fieldname)}; put "job" with the job as JSON before all files.`,
    );
  }
  const tooLong = () =>
    new Problem(
      413,
      'payload_too_large',
      `The part "job" is longer than ${MAX_JOB_BYTES} bytes; send inputs as file parts.`,
    );
  const text = await buffer(bodyChunks(part.file, MAX_JOB_BYTES, tooLong));
  try {
    return parseJson(text);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    throw new Problem(400, 'invalid_json', error.detail.replace(/^The body/, 'The part "job"'));
  }
}

function kindOf({ fieldname }: MultipartFile): FilePart {
  if ((FILE_PARTS as readonly string[]).includes(fieldname)) return fieldname as FilePart;
  if (fieldname === 'job') {
    throw fault('invalid_request', 'job', 'The form has two parts "job"; send one job with each request.');
  }
  const name = JSON.stringify((fieldname ?? '').slice(0, 100));
  const hint = didYouMean(fieldname ?? '', FILE_PARTS);
  throw fault(
    'invalid_request',
    (fieldname ?? '').slice(0, 100),
    `The form has a part ${name}, which is not known${hint || '; the parts after "job" are called "file" or "archive".'}`,
  );
}

function pathOf({ filename }: MultipartFile, at: string): string {
  if (!filename) {
    throw fault(
      'invalid_path',
      at,
      `The part ${at} has no file name; give it one: the path in the workspace.`,
    );
  }
  const wrong = relativePathFault(filename);
  if (!wrong) return filename;
  const name = JSON.stringify(filename.slice(0, 200));
  throw fault(
    'invalid_path',
    at,
    `The path ${name} ${wrong}; expected a relative path such as data/protein.pdb.`,
  );
}

function formatOf(filename: string, at: string): ArchiveFormat {
  const format = archiveFormat(filename);
  if (format) return format;
  throw fault(
    'invalid_archive',
    at,
    `The archive ${JSON.stringify(filename)} is of no known format; its name has to end in ${ARCHIVE_ENDINGS.join(', ')}.`,
  );
}

/** @throws {Problem} 422 `invalid_path`: two inputs cannot both be there */
function claimPath(paths: PathSet, path: string, at: string): void {
  const clash = paths.addFile(path);
  if (clash) throw fault('invalid_path', at, `The form is not valid: ${clashSentence(clash)}.`);
  if (paths.size > ARCHIVE_LIMITS.entries) {
    throw fault(
      'invalid_request',
      at,
      `The job brings more than ${ARCHIVE_LIMITS.entries} files and folders; send fewer, or pack them once more.`,
    );
  }
}

async function inspect(
  store: BlobStore,
  key: string,
  size: number,
  format: ArchiveFormat,
  name: string,
  at: string,
): Promise<ArchiveEntry[]> {
  try {
    return await inspectArchive({ size, read: (start, end) => store.read(key, { start, end }) }, format);
  } catch (error) {
    if (!(error instanceof ArchiveError)) throw error;
    throw fault('invalid_archive', at, `${JSON.stringify(name)}: ${error.message}`);
  }
}

function tooLarge(path: string, limit: number, at: string): Problem {
  const message = `The file ${JSON.stringify(path)} is larger than the ${limit} bytes that the queue takes; split it, or ask the operator for a higher limit.`;
  return new Problem(413, 'payload_too_large', message, { errors: [{ path: at, message }] });
}

function fault(
  code: Extract<ProblemCode, 'invalid_request' | 'invalid_path' | 'invalid_archive'>,
  path: string,
  message: string,
): Problem {
  return new Problem(422, code, message, { errors: [{ path, message }] });
}
