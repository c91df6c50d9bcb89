import { BehaviorSubject } from 'rxjs';
import { BrokerUnavailableError, type Broker, type BrokerStatus } from '#shared/channel/broker.js';
import type { ChannelClient } from '#shared/channel/channel-client.js';
import type { Database } from '../database/database.js';
import { GATEWAY_DEFAULTS, type GatewayConfig } from '../gateway.config.js';
import type { JobLifecycle } from '../jobs/job-lifecycle.js';
import type { Aftermath } from './aftermath.js';
import { Leases } from './leases.js';

const LEASE = 60;
const HEARTBEAT = 5;
/** Three heartbeats and one second. */
const GONE = 16;
const START = Date.parse('2026-01-31T12:00:00Z');

/** What time counts against a lease: all that passes here is what the test says. */
describe('the reaper', () => {
  let now: number;
  let answersAfterMs: number;
  let status: BehaviorSubject<BrokerStatus>;
  let asked: string[];
  let fails: boolean;
  let refuses: boolean;
  let leases: Leases;

  beforeEach(() => {
    now = START;
    answersAfterMs = 1;
    asked = [];
    fails = refuses = false;
    status = new BehaviorSubject<BrokerStatus>('connected');
    jest.spyOn(Date, 'now').mockImplementation(() => now);
    const database = {
      one: async () => {
        now += answersAfterMs;
        if (fails) throw new Error('the database is away');
        return { now: new Date(now) };
      },
    };
    const since = (time: Date) => (time.getTime() - now) / 1000;
    const lifecycle = {
      reclaim: async (asOf: Date) => (asked.push(`run out ${since(asOf)} s from now`), []),
      reclaimCanceled: async (asOf: Date) => (asked.push(`canceled ${since(asOf)} s from now`), []),
    };
    const publish = async () => {
      if (refuses) throw new BrokerUnavailableError(new Error('short of disk'));
    };
    const config = { ...GATEWAY_DEFAULTS, lease: LEASE, heartbeat: HEARTBEAT } as unknown as GatewayConfig;
    leases = new Leases(
      database as unknown as Database,
      lifecycle as unknown as JobLifecycle,
      { of: async () => undefined } as unknown as Aftermath,
      {} as ChannelClient,
      { status, publish } as unknown as Broker,
      config,
    );
  });
  afterEach(() => {
    leases.close();
    jest.restoreAllMocks();
  });

  /** Rounds of a second each. @returns what the last one asked for */
  async function rounds(seconds: number): Promise<string[]> {
    for (let n = 0; n < seconds; n++) {
      now += 1000;
      asked = [];
      await leases.reap(1).catch(() => undefined);
    }
    return asked;
  }

  const ALL = [`canceled ${LEASE - GONE} s from now`, 'run out 0 s from now'];

  it('takes back canceled jobs of gone workers early, and all others when a whole lease could be heard', async () => {
    expect(await rounds(GONE - 1)).toEqual([]);
    expect(await rounds(2)).toEqual(ALL.slice(0, 1));
    expect(await rounds(LEASE - GONE)).toEqual(ALL);
  });

  it('begins anew when the broker was away', async () => {
    await rounds(2 * LEASE);
    status.next('disconnected');
    expect(await rounds(10)).toEqual([]);
    status.next('connected');
    expect(await rounds(GONE - 1)).toEqual([]);
    expect(await rounds(LEASE)).toEqual(ALL);
  });

  it('begins anew when the broker kept its connections and took no messages', async () => {
    await rounds(2 * LEASE);
    refuses = true;
    expect(await rounds(3)).toEqual([]);
    refuses = false;
    expect(await rounds(GONE - 1)).toEqual([]);
    expect(await rounds(LEASE)).toEqual(ALL);
  });

  it('begins anew when it slept itself', async () => {
    await rounds(2 * LEASE);
    now += 90_000;
    expect(await rounds(GONE - 1)).toEqual([]);
    expect(await rounds(LEASE)).toEqual(ALL);
  });

  it('begins anew when the database answers late, as after a freeze, in which no heartbeat was recorded', async () => {
    await rounds(2 * LEASE);
    answersAfterMs = 90_000;
    expect(await rounds(1)).toEqual([]);
    answersAfterMs = 1;
    expect(await rounds(GONE - 1)).toEqual([]);
    expect(await rounds(LEASE)).toEqual(ALL);
  });

  it('begins anew when the database was away', async () => {
    await rounds(2 * LEASE);
    fails = true;
    expect(await rounds(3)).toEqual([]);
    fails = false;
    expect(await rounds(GONE - 1)).toEqual([]);
    expect(await rounds(LEASE)).toEqual(ALL);
  });
});
