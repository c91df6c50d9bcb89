import type { Moment } from '../support/stage.js';

/** The rows of the fault matrix: what becomes of a job that stands at a moment while a fault befalls a part. */

export type Part = 'worker' | 'launcher' | 'gateway' | 'broker' | 'database' | 'blob store' | 'network';

/** How the job ends; without a state in any of them, but in one. */
export interface End {
  readonly state?: 'succeeded' | 'failed';
  readonly reason?: string;
  /** How often it was given to a worker; several where the exact moment decides. */
  readonly attempts: readonly number[];
  /** How often its command began, where that is another number. */
  readonly runs?: number;
}

export interface Row {
  readonly moment: Moment;
  /** Names the test. */
  readonly fact: string;
  readonly end: End;
}

export interface Fault {
  readonly part: Part;
  /** What befalls the part. */
  readonly what: string;
  /** How the test makes it. */
  readonly how: string;
  readonly rows: readonly Row[];
}

const ONCE: End = { state: 'succeeded', attempts: [1] };
const AGAIN: End = { state: 'succeeded', attempts: [2] };
/** AMQP has no checksums: only TLS tells a spoiled text from a good one. */
const ANY: End = { attempts: [1, 2] };
/** Given out anew where its worker asked again too late. */
const UNBEGUN: End = { state: 'succeeded', attempts: [1, 2], runs: 1 };
const failed = (reason: string): End => ({ state: 'failed', reason, attempts: [1] });

type Facts = { readonly [M in Moment]?: readonly [fact: string, end: End] };

const fault = (part: Part, what: string, how: string, facts: Facts): Fault => ({
  part,
  what,
  how,
  rows: (Object.entries(facts) as [Moment, readonly [string, End]][]).map(([moment, [fact, end]]) => ({
    moment,
    fact,
    end,
  })),
});

/** What is away or slow for a while delays everything and changes nothing. */
const NOTHING_BUT_TIME: Facts = {
  'before its claim': ['waits, and runs once', ONCE],
  'at its claim': [
    'is given by the same claim when that is asked again, or taken back unbegun, and runs once',
    UNBEGUN,
  ],
  'while it runs': ['runs on, in its one attempt', ONCE],
  'at its upload': ['is uploaded from the disk until it is taken, and does not run again', ONCE],
  'at its finish': ['is reported until it is recorded, and does not run again', ONCE],
  'at its record': ['is recorded once, however often it is reported', ONCE],
};

/** The gateway cannot know whether the worker lives, so it gives the job away. */
const TAKEN_BACK: Facts = {
  'before its claim': ['waits for the worker, and runs once', ONCE],
  'at its claim': ['is taken back, and the answer that comes late is of no use', AGAIN],
  'while it runs': ['is taken back, and its old tree ends before it runs again', AGAIN],
  'at its upload': ['is taken back, the rest of the upload is refused, and it runs again', AGAIN],
  'at its finish': ['is taken back, the late report is refused, and it runs again', AGAIN],
  'at its record': ['stays recorded', ONCE],
};

export const WORKER_FAULTS = [
  fault('worker', 'is killed and comes back', 'SIGKILL, a start on its state directory', {
    'before its claim': ['waits for the worker, and runs once', ONCE],
    'at its claim': ['was given to nobody who knows of it, and runs when its lease has run out', AGAIN],
    'while it runs': ['is ended by the launcher, handed back at the start, and runs again', AGAIN],
    'at its upload': ['is uploaded from the disk, and does not run again', ONCE],
    'at its finish': ['is reported from the disk, and does not run again', ONCE],
    'at its record': ['is recorded once, although it is reported from the disk again', ONCE],
  }),
  fault('worker', 'is frozen for longer than its lease', 'SIGSTOP, SIGCONT', TAKEN_BACK),
  fault(
    'worker',
    'gets little of a processor',
    'SIGSTOP and SIGCONT in turn, nine parts of ten, for longer than a lease',
    NOTHING_BUT_TIME,
  ),
  fault(
    'worker',
    'is cut off for longer than its lease',
    'both its wires reset every connection',
    TAKEN_BACK,
  ),
  fault('worker', 'is killed and comes back empty', 'SIGKILL, its state directory removed, a start', {
    'before its claim': ['waits for the new worker, and runs once', ONCE],
    'at its claim': ['runs when its lease has run out', AGAIN],
    'while it runs': ['is ended by the launcher, and runs again when its lease has run out', AGAIN],
    'at its upload': ['lost its outputs, and runs again when its lease has run out', AGAIN],
    'at its finish': ['lost its outcome, and runs again when its lease has run out', AGAIN],
    'at its record': ['stays recorded', ONCE],
  }),
  fault('worker', 'has a full disk', 'RLIMIT_FSIZE of the worker, lifted after failures', {
    'before its claim': ['waits until its input has room, and runs once', ONCE],
    'while it runs': ['fails when its outputs have no room, and says so', failed('output_error')],
    'at its upload': ['is uploaded, for its outputs are packed', ONCE],
    'at its finish': ['is recorded', ONCE],
  }),
] as const;

export const LAUNCHER_FAULTS = [
  fault('launcher', 'is killed', 'SIGKILL; the worker starts a new one', {
    'before its claim': ['runs once, under the new launcher', ONCE],
    'at its claim': ['runs once, under the new launcher', ONCE],
    'while it runs': ['ends with the launcher, is handed back at once, and runs again', AGAIN],
    'at its upload': ['is uploaded, for its command is over', ONCE],
    'at its finish': ['is recorded, for its command is over', ONCE],
  }),
  fault('launcher', 'is frozen for longer than a lease', 'SIGSTOP, SIGCONT', {
    'before its claim': ['waits for the launcher, and runs once', ONCE],
    'at its claim': ['waits for the launcher, and runs once', ONCE],
    'while it runs': ['runs on and ends, for each command has a supervisor of its own', ONCE],
    'at its upload': ['is uploaded, for its command is over', ONCE],
    'at its finish': ['is recorded, for its command is over', ONCE],
  }),
  fault(
    'launcher',
    'and its commands have a full disk',
    'RLIMIT_FSIZE of the launcher and its supervisors, which commands inherit',
    {
      'at its claim': ['fails by what its command meets, and says so', failed('signal')],
      'while it runs': ['runs on with what it had when it began', ONCE],
    },
  ),
] as const;

export const GATEWAY_FAULTS = [
  fault('gateway', 'is killed and comes back', 'SIGKILL, a start', NOTHING_BUT_TIME),
  fault('gateway', 'is frozen for longer than a lease', 'SIGSTOP, SIGCONT', NOTHING_BUT_TIME),
  fault(
    'gateway',
    'gets little of a processor',
    'SIGSTOP and SIGCONT in turn, nine parts of ten, for longer than a lease',
    NOTHING_BUT_TIME,
  ),
  fault(
    'gateway',
    'is cut off from broker and database for longer than a lease',
    'both its wires reset every connection',
    NOTHING_BUT_TIME,
  ),
  fault('gateway', 'has a full disk for blobs', 'RLIMIT_FSIZE of the gateway, lifted after refused uploads', {
    'while it runs': ['runs on, and is uploaded when there is room', ONCE],
    'at its upload': ['is uploaded when there is room, and does not run again', ONCE],
    'at its finish': ['is recorded, for its files are stored', ONCE],
  }),
] as const;

export const BROKER_FAULTS = [
  fault('broker', 'is killed and comes back', 'SIGKILL, a start', NOTHING_BUT_TIME),
  fault('broker', 'is frozen for longer than a lease', 'SIGSTOP, SIGCONT', NOTHING_BUT_TIME),
  fault(
    'broker',
    'gets little of a processor',
    'SIGSTOP and SIGCONT in turn, nine parts of ten, for longer than a lease',
    NOTHING_BUT_TIME,
  ),
  fault(
    'broker',
    'is out of reach for longer than a lease',
    'all wires to it reset every connection',
    NOTHING_BUT_TIME,
  ),
  fault('broker', 'is killed and comes back empty', 'SIGKILL, its data removed, a start', {
    ...NOTHING_BUT_TIME,
    'before its claim': ['gets a new ticket from the jobs table, and runs once', ONCE],
  }),
  fault(
    'broker',
    'has a full disk for longer than a lease',
    'its limit of free space set to more than there is: it blocks all who publish',
    NOTHING_BUT_TIME,
  ),
] as const;

export const DATABASE_FAULTS = [
  fault('database', 'is killed and comes back', 'SIGKILL, a start on its data', NOTHING_BUT_TIME),
  fault(
    'database',
    'is frozen for longer than a lease',
    'SIGSTOP, SIGCONT of all its processes',
    NOTHING_BUT_TIME,
  ),
  fault(
    'database',
    'gets little of a processor',
    'SIGSTOP and SIGCONT in turn, nine parts of ten, for longer than a lease',
    NOTHING_BUT_TIME,
  ),
  fault(
    'database',
    'is out of reach for longer than a lease',
    'the wire to it resets every connection',
    NOTHING_BUT_TIME,
  ),
  fault(
    'database',
    'has a full disk',
    'RLIMIT_FSIZE of the server: it panics at its log, as on a full disk; then lifted, and a start',
    NOTHING_BUT_TIME,
  ),
] as const;

export const BLOB_FAULTS = [
  fault('blob store', 'is killed and comes back', 'SIGKILL, a start when uploads have failed', {
    'before its claim': ['fetches its input when the store is back, and runs once', ONCE],
    'while it runs': ['is uploaded when the store is back, and does not run again', ONCE],
    'at its upload': ['is uploaded from the disk again, and does not run again', ONCE],
    'at its finish': ['is recorded, for its files are stored', ONCE],
  }),
  fault('blob store', 'is frozen for longer than a lease', 'SIGSTOP, SIGCONT', {
    'before its claim': ['fetches its input when the store goes on, and runs once', ONCE],
    'while it runs': ['is uploaded when the store goes on, in its one attempt', ONCE],
    'at its upload': ['is uploaded when the store goes on, in its one attempt', ONCE],
    'at its finish': ['is recorded, for its files are stored', ONCE],
  }),
  fault('blob store', 'is slow', 'its wire delays and throttles', {
    'before its claim': ['fetches its input at leisure, and runs once', ONCE],
    'while it runs': ['is uploaded at leisure, in its one attempt', ONCE],
    'at its upload': ['is uploaded at leisure, in its one attempt', ONCE],
  }),
  fault('blob store', 'is out of reach for longer than a lease', 'the wire to it resets every connection', {
    'before its claim': ['fetches its input when the store is back, and runs once', ONCE],
    'while it runs': ['is uploaded when the store is back, and does not run again', ONCE],
    'at its upload': ['is uploaded from the disk again, and does not run again', ONCE],
    'at its finish': ['is recorded, for its files are stored', ONCE],
  }),
  fault('blob store', 'comes back empty', 'SIGKILL, its data removed, a start', {
    'before its claim': [
      'fails when its allowance is used up, here a hundred, for its input is gone, and says so',
      { ...failed('input_error'), attempts: [101] },
    ],
    'while it runs': ['is uploaded, in its one attempt', ONCE],
    'at its upload': ['is uploaded from the disk again, and does not run again', ONCE],
  }),
] as const;

const CUT: Facts = NOTHING_BUT_TIME;
const UPLOADS_ONLY: Facts = {
  'before its claim': ['fetches its input again, and runs once', ONCE],
  'while it runs': ['runs on, and is uploaded', ONCE],
  'at its upload': ['is uploaded from the disk again, whole', ONCE],
};

export const NETWORK_FAULTS = [
  fault('network', 'between workers and broker breaks', 'reset of every connection', CUT),
  fault('network', 'between workers and broker half-closes', 'an end towards the worker alone', CUT),
  fault(
    'network',
    'between workers and broker is silent for longer than a lease',
    'held in both directions, then delivered',
    TAKEN_BACK,
  ),
  fault('network', 'between workers and broker is slow', 'every chunk 200 ms later', NOTHING_BUT_TIME),
  fault('network', 'between workers and broker spoils bytes', 'one byte of what is held', {
    'at its claim': ['has one end: the spoiled answer is refused, or not to be told from a good one', ANY],
    'at its finish': [
      'has one end: the spoiled report is refused and repeated, or not to be told from a good one',
      ANY,
    ],
  }),
  fault('network', 'between workers and gateway breaks', 'reset of every connection', UPLOADS_ONLY),
  fault(
    'network',
    'between workers and gateway half-closes',
    'an end towards the gateway alone',
    UPLOADS_ONLY,
  ),
  fault(
    'network',
    'between workers and gateway is silent for longer than a lease',
    'held in both directions, then delivered',
    UPLOADS_ONLY,
  ),
  fault('network', 'between workers and gateway is slow', '300,000 bytes a second', UPLOADS_ONLY),
  fault('network', 'between workers and gateway spoils bytes', 'one byte of each upload', {
    'at its upload': ['is found to be spoiled and uploaded again, whole', ONCE],
  }),
  fault('network', 'between gateway and broker breaks', 'reset of every connection', CUT),
  fault(
    'network',
    'between gateway and broker is silent for longer than a lease',
    'held in both directions, then delivered',
    CUT,
  ),
  fault('network', 'between gateway and database breaks', 'reset of every connection', CUT),
  fault(
    'network',
    'between gateway and database is silent for longer than a lease',
    'held in both directions, then delivered',
    CUT,
  ),
  fault(
    'network',
    'between gateway and database forgets its connections',
    'what is sent on those that stand is lost for ever, new ones work',
    CUT,
  ),
] as const;

export const FAULTS: readonly Fault[] = [
  ...WORKER_FAULTS,
  ...LAUNCHER_FAULTS,
  ...GATEWAY_FAULTS,
  ...BROKER_FAULTS,
  ...DATABASE_FAULTS,
  ...BLOB_FAULTS,
  ...NETWORK_FAULTS,
];
