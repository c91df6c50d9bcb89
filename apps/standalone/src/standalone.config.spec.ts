import { readStandaloneConfig } from './standalone.config.js';

describe('the settings of the standalone', () => {
  it('need no variable: this machine only, everything kept in one folder', () => {
    const config = readStandaloneConfig({});
    expect(config.folder).toBe(`${process.cwd()}/.labhand`);
    expect(config.databaseUrl).toBeUndefined();
    expect(config.gateway).toMatchObject({
      host: '127.0.0.1',
      port: 8080,
      blobs: { kind: 'directory', directory: `${config.folder}/blobs` },
      adminKeyFile: `${config.folder}/admin-key`,
    });
    expect(config.worker.stateDir).toBe(`${config.folder}/worker`);
    expect(Object.keys(config.worker.queues)).toEqual(['default']);
    expect(config.warnings).toEqual([]);
  });

  it('take the variables of the gateway and of the worker', () => {
    const config = readStandaloneConfig({
      LABHAND_PORT: '9000',
      LABHAND_QUEUES: 'short:3',
      LABHAND_DRAIN_TIMEOUT: '5',
      LABHAND_DATABASE_URL: 'postgres://me@db/labhand',
    });
    expect(config.gateway.port).toBe(9000);
    expect(config.worker).toMatchObject({ queues: { short: 3 }, drainTimeout: 5 });
    expect(config.databaseUrl).toBe('postgres://me@db/labhand');
    expect(config.warnings).toEqual([]);
  });

  it('warn of a variable that neither knows', () => {
    const { warnings } = readStandaloneConfig({ LABHAND_PROT: '9000' });
    expect(warnings).toEqual([expect.stringContaining('LABHAND_PROT')]);
  });

  it('name what is wrong', () => {
    expect(() => readStandaloneConfig({ LABHAND_PORT: 'http' })).toThrow(/LABHAND_PORT/);
  });
});
