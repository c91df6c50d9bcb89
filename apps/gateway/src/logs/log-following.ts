import { Injectable, type OnModuleDestroy } from '@nestjs/common';
import { isFinal, type JobState } from '#shared/job/job-state.js';
import type { StreamSummary } from '#shared/messages/messages.js';
import { Database } from '../database/database.js';
import { Wakeups, type Wakeup } from '../events/wakeups.js';
import type { ServerSentEvent } from '../http/event-stream.js';
import { FollowedStream, type StreamNews } from './followed-stream.js';
import { JobLogs } from './job-logs.js';
import { LiveLogs, type LiveChunk, type Places, type StreamName } from './live-logs.js';
import { placeId, type LogPlace } from './log-place.js';

/** Milliseconds until a look at what is missing, where a wakeup does not come first. */
const MISSING_MS = 200;

const STATE = `
  SELECT j.state, j.attempt AS latest, j.reason, j.message, a.worker_id, a.ending, a.exit_code, a.stdout, a.stderr
  FROM jobs j LEFT JOIN attempts a ON a.job_id = j.id AND a.attempt = $2 WHERE j.id = $1`;

interface FollowedState {
  readonly state: JobState;
  readonly latest: number;
  readonly reason: string | null;
  readonly message: string | null;
  /** null while the attempt has not begun. */
  readonly worker_id: string | null;
  /** null while the attempt is under way. */
  readonly ending: string | null;
  readonly exit_code: number | null;
  readonly stdout: StreamSummary | null;
  readonly stderr: StreamSummary | null;
}

export interface FollowOptions {
  readonly streams: readonly StreamName[];
  /** Ends with the attempt that it begins with. */
  readonly onlyOne: boolean;
  /** Fires when the client has gone. */
  readonly gone: AbortSignal;
}

/** Where an attempt is followed from. */
export interface FollowStart extends LogPlace {
  /** The client knows of the attempt already. */
  readonly known: boolean;
  /** The places may lie within a character. */
  readonly midway: boolean;
}

type Events = AsyncGenerator<ServerSentEvent | undefined, FollowedState | undefined>;

/**
 * Follows what a job writes: live chunks while an attempt runs, the kept log once it is over, then the next attempt.
 * Everything is read from where it is stored, at the pace of the client, so it does not matter which gateway a
 * client is at, nor whether it is the one that it was at before.
 */
@Injectable()
export class LogFollowing implements OnModuleDestroy {
  private readonly closing = new AbortController();

  constructor(
    private readonly database: Database,
    private readonly live: LiveLogs,
    private readonly logs: JobLogs,
    private readonly wakeups: Wakeups,
  ) {}

  /** Followers come back to another gateway, or to the next one here. */
  onModuleDestroy(): void {
    this.closing.abort();
  }

  /** Ends with the event `end`, or without it when this gateway stops. */
  async *follow(
    jobId: string,
    begin: FollowStart,
    options: FollowOptions,
  ): AsyncGenerator<ServerSentEvent | undefined> {
    const wakeup = this.wakeups.follow(jobId);
    const stop = AbortSignal.any([options.gone, this.closing.signal]);
    try {
      for (let start = begin; ; start = beginningOf(start.attempt + 1)) {
        const followed = new FollowedAttempt(jobId, start, options.streams);
        const state = yield* this.attempt(followed, start.known, wakeup, stop);
        if (!state) return;
        const isLast = isFinal(state.state) && state.latest <= start.attempt;
        if (options.onlyOne || isLast) return yield followed.end(state, isLast);
      }
    } finally {
      wakeup.close();
    }
  }

  /** @returns how it ended; undefined when following was stopped */
  private async *attempt(
    followed: FollowedAttempt,
    known: boolean,
    wakeup: Wakeup,
    stop: AbortSignal,
  ): Events {
    // First of all, because of an attempt that is over the whole log is better than the chunks that are left.
    let state = await this.state(followed);
    if (!known) {
      state = yield* this.begun(followed, state, wakeup, stop);
      if (state?.worker_id)
        yield followed.event('attempt', { attempt: followed.attempt, worker: state.worker_id });
    }
    while (state && state.ending === null && !isFinal(state.state) && !stop.aborted) {
      const chunks = await this.live.next(followed.jobId, followed.attempt, followed.places);
      const isWhole = chunks.length > 0 && !chunks.some((chunk) => followed.misses(chunk));
      if (!isWhole) state = await this.state(followed);
      if (state?.ending !== null) break;
      const before = followed.progress;
      yield* followed.take(chunks, true);
      if (followed.progress > before) continue;
      yield undefined;
      await wakeup.next(stop, followed.waits ? MISSING_MS : undefined);
    }
    if (stop.aborted) return undefined;
    if (state && state.ending !== null) yield* this.rest(followed, state);
    return state;
  }

  /** Waits for the attempt to begin; it never does when the job ends before. */
  private async *begun(
    followed: FollowedAttempt,
    state: FollowedState | undefined,
    wakeup: Wakeup,
    stop: AbortSignal,
  ): Events {
    while (state && state.worker_id === null && !isFinal(state.state) && !stop.aborted) {
      yield undefined;
      await wakeup.next(stop);
      state = await this.state(followed);
    }
    return state;
  }

  /** What an attempt that is over has written and the follower has not seen. */
  private async *rest(followed: FollowedAttempt, state: FollowedState): AsyncGenerator<ServerSentEvent> {
    const { jobId, attempt } = followed;
    for (const stream of followed.streams) {
      const summary = state[stream.name];
      if (!summary) continue;
      for await (const { at, data } of this.logs.kept(jobId, attempt, stream.name, summary, stream.end)) {
        for (const news of stream.take(at, data)) yield followed.news(news);
      }
    }
    // A worker that was lost has reported no log: what it sent while it lived is all there is.
    if (!state.stdout) yield* this.remains(followed);
    for (const stream of followed.streams) {
      for (const news of stream.flush()) yield followed.news(news);
      if (state[stream.name]?.cut) yield followed.event('cut', { stream: stream.name, at: stream.end });
    }
  }

  private async *remains(followed: FollowedAttempt): AsyncGenerator<ServerSentEvent> {
    for (;;) {
      const chunks = await this.live.next(followed.jobId, followed.attempt, followed.places);
      if (chunks.length === 0) return;
      yield* followed.take(chunks, false);
    }
  }

  private state({ jobId, attempt }: FollowedAttempt): Promise<FollowedState | undefined> {
    return this.database.one<FollowedState>(STATE, [jobId, attempt]);
  }
}

/** How far a follower has come in one attempt. */
class FollowedAttempt {
  readonly attempt: number;
  readonly streams: readonly FollowedStream[];
  /** Something is missing that may still come. */
  waits = false;

  constructor(
    readonly jobId: string,
    private readonly start: FollowStart,
    names: readonly StreamName[],
  ) {
    this.attempt = start.attempt;
    this.streams = names.map((name) => new FollowedStream(name, start[name], start.midway));
  }

  /** Bytes that were read of all streams, and so grows with every chunk that is taken. */
  get progress(): number {
    return this.streams.reduce((sum, stream) => sum + stream.end, 0);
  }

  /** Whether something before this chunk was not read. */
  misses(chunk: LiveChunk): boolean {
    return chunk.at > this.stream(chunk.stream).end;
  }

  /** @param patient what may still come is waited for */
  *take(chunks: readonly LiveChunk[], patient: boolean): Generator<ServerSentEvent> {
    this.waits = false;
    for (const chunk of chunks) {
      const stream = this.stream(chunk.stream);
      if (patient && stream.waitsBefore(chunk, Date.now())) this.waits = true;
      else for (const news of stream.take(chunk.at, chunk.data)) yield this.news(news);
    }
  }

  /** Where reading goes on; beyond all ends for what is not followed. */
  get places(): Places {
    const end = (name: StreamName) =>
      this.streams.find((one) => one.name === name)?.end ?? Number.MAX_SAFE_INTEGER;
    return { stdout: end('stdout'), stderr: end('stderr') };
  }

  news({ event, data }: StreamNews): ServerSentEvent {
    return this.event(event, data);
  }

  event(event: string, data: unknown): ServerSentEvent {
    return { event, id: placeId(this.place), data };
  }

  end(state: FollowedState, isLast: boolean): ServerSentEvent {
    const { exit_code: exitCode, reason, message } = state;
    const job = isLast ? { state: state.state, reason, message } : { ending: state.ending };
    const data = { attempt: this.attempt, ...job, exitCode };
    const given = Object.fromEntries(Object.entries(data).filter(([, value]) => value !== null));
    return { event: 'end', id: placeId(this.place, true), data: given };
  }

  private stream(name: StreamName): FollowedStream {
    const stream = this.streams.find((one) => one.name === name);
    if (!stream) throw new Error(`${name} is not followed`);
    return stream;
  }

  private get place(): LogPlace {
    const told = (name: StreamName) =>
      this.streams.find((one) => one.name === name)?.told ?? this.start[name];
    return { attempt: this.attempt, stdout: told('stdout'), stderr: told('stderr') };
  }
}

/** An attempt from its first byte. */
export function beginningOf(attempt: number): FollowStart {
  return { attempt, stdout: 0, stderr: 0, known: false, midway: false };
}
