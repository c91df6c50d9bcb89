/** An archive that may not or cannot be unpacked; the message is a whole sentence for whoever made it. */
export class ArchiveError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ArchiveError';
  }
}

/** A fault of the place where an archive lies, on its way through decoders that would call it damage. */
export class SourceFault extends Error {
  constructor(cause: unknown) {
    super('the archive cannot be fetched', { cause });
  }
}

/**
 * What a caller hears: a fault of the place as it was, everything else as an `ArchiveError`.
 * @param kind zip, tar or zstd
 */
export function archiveFault(error: unknown, kind: string): unknown {
  if (error instanceof SourceFault) return error.cause;
  if (error instanceof ArchiveError) return error;
  return new ArchiveError(
    `The ${kind} archive cannot be read (${(error as Error).message}); it may be cut off, damaged or of another format, so pack and send it again.`,
    { cause: error },
  );
}
