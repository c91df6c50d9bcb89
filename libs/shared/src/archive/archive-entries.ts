import type { ArchiveFormat } from './archive.js';
import type { ArchiveSource, EntryOnTheWay } from './archive-entry.js';
import type { EntryRules } from './entry-rules.js';
import { tarEntries } from './tar-entries.js';
import { zipEntries } from './zip-entries.js';

/** All entries of an archive, each checked before it is handed out. @throws {ArchiveError} */
export function archiveEntries(
  source: ArchiveSource,
  format: ArchiveFormat,
  rules: EntryRules,
): AsyncIterable<EntryOnTheWay> {
  return format === 'zip' ? zipEntries(source, rules) : tarEntries(source, format, rules);
}
