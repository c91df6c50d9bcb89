import { mkdirSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { relativePathFault } from '#shared/job/relative-path.js';
import type { ClaimedJob, InputFile } from '#shared/messages/messages.js';
import { AttemptEnded } from './attempts.js';
import { AttemptFailure, because, isFaultOfTheHost } from './attempt-failure.js';
import { StaleAttemptError, type FilesClient } from './files-client.js';
import type { SpoolFiles } from './spool.js';
import type { Workspace } from './workspace.js';

const PARALLEL = 4;

/**
 * Puts a job's inputs into its workspace: archives first, so that a file given by itself wins over one of the
 * same path in an archive.
 * @throws {AttemptFailure} input_error
 * @throws {StaleAttemptError}
 */
export async function placeInputs(
  job: ClaimedJob,
  workspace: Workspace,
  spool: SpoolFiles,
  files: FilesClient,
  signal: AbortSignal,
): Promise<void> {
  const archives = job.inputs.filter((input) => input.archive !== undefined);
  const plain = job.inputs.filter((input) => input.archive === undefined);
  const fetchTo = async (input: InputFile, target: string) => {
    if (input.content !== undefined) {
      writeFileSync(target, input.content, { mode: input.executable ? 0o755 : 0o644 });
    } else if (input.href !== undefined) {
      await fetched(files.fetch(job, { ...input, href: input.href }, target, signal));
    } else {
      throw new Error('it has neither content nor an address');
    }
  };
  for (const [index, input] of archives.entries()) {
    await told(input, async () => {
      const file = spool.path(`input-${index}`);
      await fetchTo(input, file);
      await unpack(file, input, workspace.directory, signal);
      await rm(file);
    });
  }
  await inParallel(plain, (input) =>
    told(input, () => fetchTo(input, makeRoom(workspace.directory, input.path))),
  );
}

/** Unpacking is loaded by the first job that brings an archive: an idle worker stays small. */
async function unpack(
  file: string,
  { archive }: InputFile,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  const { unpackArchive } = await import('#shared/archive/unpack.js');
  await unpackArchive(file, archive!, directory, {}, signal);
}

function makeRoom(directory: string, path: string): string {
  const fault = relativePathFault(path);
  if (fault) throw new Error(`its path ${fault}`);
  const target = join(directory, path);
  if (path.includes('/')) mkdirSync(dirname(target), { recursive: true });
  return target;
}

/** A file did not come: whatever the reason, it is none of the job's. */
class TransferFault extends Error {}

async function fetched(transfer: Promise<void>): Promise<void> {
  try {
    await transfer;
  } catch (error) {
    if (isNoOutcome(error)) throw error;
    throw new TransferFault((error as Error).message, { cause: error });
  }
}

async function told(input: InputFile, place: () => Promise<void>): Promise<void> {
  try {
    await place();
  } catch (error) {
    if (isNoOutcome(error)) throw error;
    const transfer = error instanceof TransferFault;
    const fault = transfer ? error.cause : error;
    const what = input.archive ? 'input archive' : 'input file';
    throw new AttemptFailure(
      'input_error',
      `The ${what} ${JSON.stringify(input.path)} could not be put into the workspace: ${because(fault)}`,
      fault,
      transfer || isFaultOfTheHost(fault),
    );
  }
}

function isNoOutcome(error: unknown): boolean {
  return error instanceof AttemptEnded || error instanceof StaleAttemptError;
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  const lane = async () => {
    for (const item of queue) await work(item);
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, lane));
}
