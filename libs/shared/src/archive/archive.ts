export const ARCHIVE_FORMATS = ['zip', 'tar', 'tar.gz', 'tar.zst'] as const;
export type ArchiveFormat = (typeof ARCHIVE_FORMATS)[number];

const ENDINGS: readonly (readonly [string, ArchiveFormat])[] = [
  ['.zip', 'zip'],
  ['.tar', 'tar'],
  ['.tar.gz', 'tar.gz'],
  ['.tgz', 'tar.gz'],
  ['.tar.zst', 'tar.zst'],
  ['.tzst', 'tar.zst'],
];

export const ARCHIVE_ENDINGS: readonly string[] = ENDINGS.map(([ending]) => ending);

/** The format that a file's name tells; undefined when it is no archive that can be unpacked. */
export function archiveFormat(filename: string): ArchiveFormat | undefined {
  const name = filename.toLowerCase();
  return ENDINGS.find(([ending]) => name.endsWith(ending))?.[1];
}
