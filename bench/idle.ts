import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { Figure } from './figures.js';
import type { House } from './house.js';
import { proportionalMiB, residentMiB, treeOf } from './memory.js';
import type { Part } from './part.js';

const SETTLE_MS = 10_000;
const STANDALONE = 'dist/apps/standalone/src/main.js';

/** What a service costs that has nothing to do, and how fast it is there. */
export const idle: Part = {
  async measure(house) {
    const gateway = await house.startGateway();
    const worker = await house.startWorker(gateway, 4);
    await pause(SETTLE_MS);
    const workerTree = treeOf(worker.pid);
    const sum = (of: (pid: number) => number) => workerTree.reduce((all, pid) => all + of(pid), 0);
    const memory: Figure[] = [
      mib('gateway idle, resident', residentMiB(gateway.program.pid), 140),
      mib('gateway idle, proportional', proportionalMiB(gateway.program.pid)),
      mib('worker and launcher idle, resident', sum(residentMiB), 120),
      mib('worker and launcher idle, proportional', sum(proportionalMiB)),
    ];
    gateway.client.close();
    await house.clear();
    return [
      ...memory,
      ms('gateway: start to ready', gateway.program.startMs),
      ms('worker: start to ready', worker.startMs),
      ...(await standalone(house)),
    ];
  },
};

/** The first start makes the database; each later one finds it. */
async function standalone(house: House): Promise<Figure[]> {
  const data = mkdtempSync(path.join(house.folder, 'standalone-'));
  const start = async () => {
    const url = path.join(data, 'url');
    rmSync(url, { force: true });
    // The address is written when all of it is ready.
    const isReady = () => existsSync(url);
    const program = await house.startProgram(STANDALONE, { LABHAND_DATA: data, LABHAND_PORT: '0' }, isReady);
    await program.stop();
    return program.startMs;
  };
  return [
    ms('standalone: first start to ready', await start()),
    ms('standalone: later start to ready', await start()),
  ];
}

function mib(name: string, value: number, atMost?: number): Figure {
  return { name, unit: 'MiB', value, bound: atMost === undefined ? undefined : { atMost } };
}

function ms(name: string, value: number): Figure {
  return { name, unit: 'ms', value };
}
