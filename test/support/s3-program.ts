import S3rver from 's3rver';

/** An S3 store as a process of its own, which a test may kill or freeze: `node s3-program.js <port> <directory>`. */

const [port, directory] = process.argv.slice(2);

new S3rver({
  address: '127.0.0.1',
  port: Number(port),
  silent: true,
  directory: directory!,
  configureBuckets: [{ name: 'blobs' }],
})
  .run()
  .catch((error: Error) => {
    process.stderr.write(`${error.stack ?? error.message}\n`);
    process.exit(1);
  });
process.on('SIGTERM', () => process.exit(0));
