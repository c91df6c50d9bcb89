import { setTimeout as pause } from 'node:timers/promises';
import { descendants, type Program } from '../support/processes.js';
import type { TcpProxy } from '../support/tcp-proxy.js';
import type { Town } from '../support/town.js';
import { allOf } from '../support/wires.js';
import type { Choice } from './choice.js';

/** Seconds; what is cut off or frozen is so for less, so that no attempt may overlap another one of its job. */
export const SOAK_LEASE = 12;

const LESS_THAN_A_LEASE_MS = SOAK_LEASE * 500;
const LONGER_THAN_A_LEASE_MS = SOAK_LEASE * 1250;

interface SoakFault {
  readonly what: string;
  readonly strike: () => Promise<unknown>;
}

/**
 * One fault after the other, chosen at random. The last gateway and the last worker are never killed: in them memory
 * that is not given back would show.
 */
export class SoakFaults {
  /** How often each struck. */
  readonly struck = new Map<string, number>();
  private readonly faults: readonly SoakFault[];

  constructor(
    private readonly town: Town,
    private readonly choice: Choice,
  ) {
    const { workers, gateways, rabbitMq } = town;
    const mortal = (programs: readonly Program[]) => choice.of(programs.slice(0, -1));
    const wire = () => choice.of(allOf(town.wires));
    const aMoment = () => pause(choice.between(100, LESS_THAN_A_LEASE_MS));
    const aWhile = () => pause(choice.between(100, LONGER_THAN_A_LEASE_MS));
    const postgres = () => [town.postgresPid, ...descendants(town.postgresPid)];
    this.faults = [
      { what: 'a worker is killed', strike: () => restart(mortal(workers), 'SIGKILL') },
      { what: 'a worker is stopped in order', strike: () => restart(mortal(workers), 'SIGTERM') },
      { what: 'a worker is frozen', strike: () => freeze([choice.of(workers).pid], aMoment) },
      { what: 'a launcher is killed', strike: async () => signal(launchersOf(mortal(workers)), 'SIGKILL') },
      { what: 'a launcher is frozen', strike: () => freeze(launchersOf(choice.of(workers)), aMoment) },
      { what: 'a gateway is killed', strike: () => restart(mortal(gateways), 'SIGKILL') },
      { what: 'a gateway is stopped in order', strike: () => restart(mortal(gateways), 'SIGTERM') },
      { what: 'a gateway is frozen', strike: () => freeze([choice.of(gateways).pid], aMoment) },
      { what: 'RabbitMQ is killed', strike: () => town.restartRabbitMq({}, aMoment) },
      { what: 'RabbitMQ and its data are killed', strike: () => town.restartRabbitMq({ wiped: true }) },
      {
        what: 'RabbitMQ is frozen',
        strike: async () => {
          await rabbitMq.freeze();
          await aWhile();
          await rabbitMq.thaw();
        },
      },
      { what: 'Postgres is killed', strike: () => town.restartPostgres(aWhile) },
      { what: 'Postgres is frozen', strike: () => freeze(postgres(), aWhile) },
      { what: 'a network breaks', strike: async () => wire().cut() },
      { what: 'a network is away', strike: () => during(wire(), (it) => it.shut(), aMoment) },
      { what: 'a network is silent', strike: () => during(wire(), (it) => it.hold(), aMoment) },
      {
        what: 'a network is slow',
        strike: () => during(wire(), (it) => it.slow({ delayMs: 300, bytesPerSecond: 200_000 }), aMoment),
      },
      {
        what: 'a network half-closes',
        strike: async () => wire().halfClose(choice.of(['in', 'out'] as const)),
      },
    ];
  }

  /** As a supervisor would; the books tell of it. */
  private startWhatEnded(): void {
    for (const program of this.town.programs) if (program.isOver) program.start();
  }

  async strike(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      const { what, strike } = this.choice.of(this.faults);
      await strike();
      this.startWhatEnded();
      this.struck.set(what, (this.struck.get(what) ?? 0) + 1);
      await pause(this.choice.between(500, 8000), undefined, { signal: stop }).catch(() => undefined);
    }
    for (const wire of allOf(this.town.wires)) wire.release();
    this.startWhatEnded();
  }
}

async function restart(program: Program, signal: NodeJS.Signals): Promise<void> {
  await program.end(signal);
  program.start();
}

async function freeze(pids: readonly number[], meanwhile: () => Promise<void>): Promise<void> {
  signal(pids, 'SIGSTOP');
  await meanwhile();
  signal(pids, 'SIGCONT');
}

async function during(
  wire: TcpProxy,
  begin: (wire: TcpProxy) => void,
  meanwhile: () => Promise<void>,
): Promise<void> {
  begin(wire);
  await meanwhile();
  wire.release();
}

/** None in the moment before it starts one. */
export function launchersOf(worker: Program): number[] {
  return descendants(worker.pid).slice(0, 1);
}

function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch {
      // It ended meanwhile.
    }
  }
}
