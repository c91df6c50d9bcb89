import { startHouse, type House } from '../support/house.js';
import { startS3, type S3Server } from '../support/s3.js';

describe('a gateway whose blobs lie in S3', () => {
  let s3: S3Server;
  let house: House;

  beforeAll(async () => {
    s3 = await startS3();
    house = await startHouse({ gateway: { blobs: { kind: 's3', ...s3.config } } });
  });
  afterAll(async () => {
    await house.end();
    await s3.stop();
  });

  it('takes files in and gives outputs back byte for byte', async () => {
    const data = Buffer.alloc(12 * 2 ** 20, 'labhand ');
    const { body } = await house.client.upload(
      { command: ['sh', '-c', 'tail -c +5 in/data.bin > out.bin; head -c 100000 /dev/zero'] },
      [['file', 'in/data.bin', data]],
    );
    const { body: job } = await house.client.get(`/v1/jobs/${body.id}?wait=50`);
    expect(job).toMatchObject({ state: 'succeeded', outputs: { files: 1 } });
    const out = await house.client.get<Buffer>(`${job.links.files}/out.bin`);
    expect(out.body.equals(data.subarray(4))).toBe(true);
    const part = await house.client.get<Buffer>(`${job.links.files}/out.bin`, { range: 'bytes=4-19' });
    expect(part.body.toString()).toBe('labhand labhand ');
    // Too long to travel with the report.
    const log = await house.client.get<Buffer>(`${job.links.logs}?stream=stdout`);
    expect(log.body.length).toBe(100_000);
  });
});
