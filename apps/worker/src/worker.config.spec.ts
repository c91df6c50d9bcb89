import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ownEnvironment, readWorkerConfig } from './worker.config.js';

const minimal = { LABHAND_GATEWAY_URL: 'http://gateway:8080', LABHAND_QUEUES: 'default:1' };

function faultsOf(env: Record<string, string>): string {
  try {
    readWorkerConfig(env);
  } catch (error) {
    return (error as Error).message;
  }
  return '';
}

describe('the configuration of a worker', () => {
  it('takes slots per queue, durations as people write them, and has defaults for the rest', () => {
    const config = readWorkerConfig({
      LABHAND_GATEWAY_URL: 'http://gateway:8080/',
      LABHAND_QUEUES: 'arctic3d:4, default:2',
      LABHAND_STATE_DIR: '/state',
      LABHAND_DRAIN_TIMEOUT: '2h',
      LABHAND_WORKER_ID: '',
      LABHAND_CGROUP: '/cg',
    });
    expect(config).toMatchObject({
      gatewayUrl: 'http://gateway:8080',
      queues: { arctic3d: 4, default: 2 },
      stateDir: '/state',
      workDir: '/state/work',
      drainTimeout: 7200,
      healthPort: 0,
      cgroup: '/cg',
      logLevel: 'info',
      workerId: undefined,
    });
  });

  it('an option goes before its variable', () => {
    const env = { ...minimal, LABHAND_MAX_JOBS: '5', LABHAND_IDLE_TIMEOUT: '90' };
    expect(readWorkerConfig(env)).toMatchObject({ maxJobs: 5, idleTimeout: 90 });
    expect(readWorkerConfig(env, { LABHAND_MAX_JOBS: '1' })).toMatchObject({ maxJobs: 1, idleTimeout: 90 });
    expect(faultsOf({ ...minimal, LABHAND_MAX_JOBS: '0', LABHAND_IDLE_TIMEOUT: '0' })).toMatch(
      /LABHAND_MAX_JOBS: expected.*\n.*LABHAND_IDLE_TIMEOUT: expected/,
    );
  });

  it('lists every problem at once', () => {
    const faults = faultsOf({
      LABHAND_GATEWAY_URL: 'gateway',
      LABHAND_QUEUES: 'Default:0,a:1,a:2',
      LABHAND_DRAIN_TIMEOUT: 'soon',
      LABHAND_HEALTH_PORT: '70000',
      LABHAND_WORKER_ID: '../x',
      LABHAND_CGROUP: 'cg',
    });
    for (const part of [
      'LABHAND_GATEWAY_URL',
      '"Default:0" is no queue with its slots',
      'the queue a is named twice',
      'LABHAND_DRAIN_TIMEOUT',
      'LABHAND_HEALTH_PORT',
      'LABHAND_WORKER_ID',
      'LABHAND_CGROUP',
    ]) {
      expect(faults).toContain(part);
    }
  });

  it('names what is missing', () => {
    expect(faultsOf({})).toMatch(/LABHAND_GATEWAY_URL[^]*LABHAND_QUEUES/);
  });

  describe('with a file that the image brings', () => {
    let folder: string;
    beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'labhand-config-'))));
    afterEach(() => rmSync(folder, { recursive: true }));

    const withFile = (content: string) => {
      const file = join(folder, 'queues.json');
      writeFileSync(file, content);
      return { ...minimal, LABHAND_QUEUES_FILE: file };
    };

    it('takes the settings of its queues', () => {
      const env = withFile('{"default": {"command": ["python3"], "limits": {"wallTime": "2h"}}}');
      expect(readWorkerConfig(env).queueSettings).toMatchObject({
        default: { command: ['python3'], limits: { wallTime: 7200 }, policy: 'any' },
      });
    });

    it('says what is wrong in it, and where', () => {
      expect(faultsOf(withFile('{"default": {"comand": []}}'))).toMatch(/default.*comand/);
      expect(faultsOf(withFile('{'))).toContain('cannot be read as JSON');
      expect(faultsOf({ ...minimal, LABHAND_QUEUES_FILE: join(folder, 'none') })).toContain('ENOENT');
    });
  });

  it("gives jobs nothing of the worker's environment but path, language and time zone", () => {
    const env = {
      PATH: '/bin',
      LANG: 'de_DE.UTF-8',
      TZ: 'Europe/Oslo',
      LABHAND_AMQP_URL: 'secret',
      HOME: '/root',
    };
    expect(ownEnvironment(env)).toEqual({ PATH: '/bin', LANG: 'de_DE.UTF-8', TZ: 'Europe/Oslo' });
    expect(Object.keys(ownEnvironment({})).sort()).toEqual(['LANG', 'PATH']);
  });
});
