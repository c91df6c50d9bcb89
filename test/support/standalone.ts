import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';

/** The built standalone as `npm start` runs it, as a process of its own on a free port. */
export class StandaloneProcess {
  private constructor(
    readonly child: ChildProcess,
    readonly folder: string,
    private readonly output: () => string,
  ) {}

  /** Resolves when it says that it is ready. */
  static async start(folder: string, env: NodeJS.ProcessEnv = {}): Promise<StandaloneProcess> {
    const started = StandaloneProcess.launch(folder, env);
    await started.says('Labhand is ready');
    return started;
  }

  /** Without waiting for anything. */
  static launch(folder: string, env: NodeJS.ProcessEnv = {}): StandaloneProcess {
    const child = spawn(process.execPath, ['dist/apps/standalone/src/main.js'], {
      env: { ...ownEnvironment(), LABHAND_DATA: folder, LABHAND_PORT: '0', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
    return new StandaloneProcess(child, folder, () => output);
  }

  get url(): string {
    return this.kept('url');
  }

  get key(): string {
    return this.kept('admin-key');
  }

  get postgresPid(): number {
    return Number(this.kept('postgres/data/postmaster.pid').split('\n')[0]);
  }

  /** Resolves when the text stands in what it printed; rejects when it ended without having said it. */
  async says(text: string): Promise<void> {
    while (!this.output().includes(text)) {
      if (this.ended) throw new Error(`the standalone ended without "${text}":\n${this.output()}`);
      await Promise.race([
        once(this.child.stdout!, 'data'),
        once(this.child.stderr!, 'data'),
        once(this.child, 'close'),
      ]);
    }
  }

  /** Resolves with the exit code and all that it printed. */
  async end(signal?: NodeJS.Signals): Promise<{ code: number | null; output: string }> {
    if (signal) this.child.kill(signal);
    if (!this.ended) await once(this.child, 'close');
    return { code: this.child.exitCode, output: this.output() };
  }

  async get<T>(route: string): Promise<T> {
    return this.call<T>(route, {});
  }

  async post<T>(route: string, body: unknown, headers: Record<string, string> = {}): Promise<T> {
    return this.call<T>(route, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'content-type': 'application/json', ...headers },
    });
  }

  private async call<T>(route: string, init: RequestInit): Promise<T> {
    const headers = { ...(init.headers as Record<string, string>), authorization: `Bearer ${this.key}` };
    const response = await fetch(this.url + route, { ...init, headers });
    const text = await response.text();
    if (!response.ok) throw new Error(`${route}: ${response.status} ${text}`);
    return JSON.parse(text) as T;
  }

  private get ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  private kept(name: string): string {
    return readFileSync(path.join(this.folder, name), 'utf8').trim();
  }
}

/** Settings of whoever runs the tests are not for what is tested. */
function ownEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('LABHAND_')));
}

/** Whether the process is there. */
export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
