import type { ArchiveFormat } from './archive.js';
import type { ArchiveEntry, ArchiveSource } from './archive-entry.js';
import { archiveEntries } from './archive-entries.js';
import { EntryRules, type ArchiveLimits } from './entry-rules.js';

/**
 * The files that an archive would unpack to, without unpacking it: of a zip only the index is read, a tar is read
 * through.
 * @throws {ArchiveError} it may not be unpacked, with a sentence that names the entry and the remedy
 */
export async function inspectArchive(
  source: ArchiveSource,
  format: ArchiveFormat,
  limits: Partial<ArchiveLimits> = {},
): Promise<ArchiveEntry[]> {
  const files: ArchiveEntry[] = [];
  for await (const { kind, path, size } of archiveEntries(
    source,
    format,
    new EntryRules(source.size, limits),
  )) {
    if (kind === 'file') files.push({ path, size });
  }
  return files;
}
