import { redact } from './redact.js';

test.each([
  ['Authorization: Bearer abcdefgh.ijkl', 'Authorization: Bearer [redacted]'],
  ['{"authorization":"Basic dXNlcjpwYXNz"}', '{"authorization":"[redacted]"}'],
  ['{"Cookie":"a=\\"b\\"; c=d","x":1}', '{"Cookie":"[redacted]","x":1}'],
  ['key lh_abcdefghijkl_abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG.', 'key lh_abcdefghijkl_[redacted].'],
  ['line\\nlh_abcdefghijkl_abcdefghijklmnop', 'line\\nlh_abcdefghijkl_[redacted]'],
  ['signed with whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'signed with whsec_[redacted]'],
  ['postgres://labhand:hunter2@db:5432/labhand', 'postgres://[redacted]@db:5432/labhand'],
  [
    'amqps://u:p%40ss@rabbit/vhost and http://t0ken@host/',
    'amqps://[redacted]@rabbit/vhost and http://[redacted]@host/',
  ],
  ['host=db password=hunter2 user=labhand', 'host=db password=[redacted] user=labhand'],
  [
    'https://s3/bucket/key?X-Amz-Signature=abc123&x=1',
    'https://s3/bucket/key?X-Amz-Signature=[redacted]&x=1',
  ],
])('%s loses its secret', (text, expected) => {
  expect(redact(text)).toBe(expected);
});

test.each([
  'GET /v1/jobs?owner=a@b.example 200',
  'http://host:8080/path?mail=a@b.example',
  'the job 0191f3a0-lh of queue docking',
  '{"token bucket":"full","tokens":"3"}',
])('%s stays as it is', (text) => {
  expect(redact(text)).toBe(text);
});

test.each(['a', 'lh_', '://', 'password', 'Bearer '])('a megabyte of "%s" is gone through', (part) => {
  const text = part.repeat(2 ** 20 / part.length);
  expect(redact(text)).toBe(text);
});
