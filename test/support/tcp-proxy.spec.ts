import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { eventually, Inbox } from './signals.js';
import { TcpProxy } from './tcp-proxy.js';

let server: Server;
let proxy: TcpProxy;
let url: URL;
const atServer = new Inbox<Socket>();
const open: Socket[] = [];

beforeAll(async () => {
  server = createServer({ allowHalfOpen: true }, (socket) => atServer.put(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
});
afterAll(async () => {
  server.close();
  await once(server, 'close');
});
beforeEach(async () => {
  proxy = new TcpProxy(`tcp://127.0.0.1:${(server.address() as AddressInfo).port}`);
  url = new URL(await proxy.listen());
});
afterEach(async () => {
  for (const socket of open.splice(0)) socket.destroy();
  await proxy.close();
});

/** One end of a connection, and all that it got. */
class End {
  got = '';
  ended = false;
  error?: string;

  constructor(readonly socket: Socket) {
    open.push(socket);
    socket.setEncoding('latin1').on('data', (text: string) => (this.got += text));
    socket.on('end', () => (this.ended = true));
    socket.on('error', (error: NodeJS.ErrnoException) => (this.error = error.code));
  }

  says(text: string): this {
    this.socket.write(text, 'latin1');
    return this;
  }

  hears(text: string): Promise<void> {
    return eventually(() => this.got, text);
  }
}

async function pair(): Promise<{ near: End; far: End }> {
  const near = new End(connect({ port: Number(url.port), host: url.hostname, allowHalfOpen: true }));
  return { near, far: new End(await atServer.next()) };
}

/** Whatever was written before on this connection has come, or never will. */
async function proof({ near, far }: { near: End; far: End }, other: 'in' | 'out'): Promise<void> {
  const [from, to] = other === 'out' ? [near, far] : [far, near];
  from.says('!');
  await eventually(() => to.got.endsWith('!'), true);
}

describe('TcpProxy', () => {
  it('brings everything to the other end, and the end too', async () => {
    const { near, far } = await pair();
    const much = 'x'.repeat(5_000_000);
    near.says(much).socket.end();
    await far.hears(much);
    await eventually(() => far.ended, true);
    far.says('still here').socket.end();
    await near.hears('still here');
    await eventually(() => proxy.connections, 0);
  });

  it('resets what stands, and welcomes new connections', async () => {
    const { near, far } = await pair();
    proxy.cut();
    await eventually(() => `${near.error} ${far.error}`, 'ECONNRESET ECONNRESET');
    const next = await pair();
    next.near.says('again');
    await next.far.hears('again');
  });

  it('refuses new connections while it is shut', async () => {
    proxy.shut();
    const refused = new End(connect({ port: Number(url.port), host: url.hostname }));
    await eventually(() => refused.error, 'ECONNRESET');
    proxy.release();
    const { near, far } = await pair();
    near.says('open');
    await far.hears('open');
  });

  it('holds one direction and lets it pass later, in order, with the end', async () => {
    const both = await pair();
    proxy.hold(['out']);
    both.near.says('first ').says('second').socket.end();
    await proof(both, 'in');
    expect(both.far.got).toBe('');
    proxy.release();
    await both.far.hears('first second');
    await eventually(() => both.far.ended, true);
  });

  it('loses what comes while it drops, and says nothing of it', async () => {
    const both = await pair();
    proxy.drop(['in']);
    both.far.says('lost');
    await proof(both, 'out');
    expect(both.near).toMatchObject({ got: '', ended: false, error: undefined });
    proxy.release();
    both.far.says('found');
    await both.near.hears('found');
  });

  it('delays, in order', async () => {
    const both = await pair();
    proxy.slow({ delayMs: 30 }, ['out']);
    both.near.says('one ');
    await proof(both, 'in');
    both.near.says('two');
    await both.far.hears('one two');
  });

  it('throttles, in small pieces', async () => {
    const both = await pair();
    proxy.slow({ bytesPerSecond: 20_000 }, ['out']);
    const pieces: number[] = [];
    both.far.socket.on('data', (text: string) => pieces.push(text.length));
    both.near.says('x'.repeat(5_000));
    await both.far.hears('x'.repeat(5_000));
    expect(pieces.length).toBeGreaterThan(1);
    proxy.release();
    both.near.says('y');
    await both.far.hears(`${'x'.repeat(5_000)}y`);
  });

  it('spoils one byte of what it holds', async () => {
    const { near, far } = await pair();
    near.says('...');
    await far.hears('...');
    proxy.hold(['out']);
    near.says('abc');
    await proof({ near, far }, 'in');
    proxy.corrupt('out');
    proxy.release();
    await far.hears(`...a${String.fromCharCode('b'.charCodeAt(0) ^ 0xff)}c`);
    near.says('abc');
    await eventually(() => far.got.endsWith('abc'), true);
  });

  it('closes one half', async () => {
    const both = await pair();
    proxy.halfClose('out');
    await eventually(() => both.far.ended, true);
    both.far.says('one way');
    await both.near.hears('one way');
    both.near.says('nowhere');
    await proof(both, 'in');
    expect(both.far.got).toBe('');
  });

  it('forgets the connections that stand, and carries new ones', async () => {
    const { near, far } = await pair();
    proxy.forget();
    near.says('lost').socket.end();
    const next = await pair();
    next.near.says('found');
    await next.far.hears('found');
    expect(far).toMatchObject({ got: '', ended: false, error: undefined });
  });

  it('springs a trap once, on the connection that the text passes on, wherever it is cut', async () => {
    const [first, second] = [await pair(), await pair()];
    const sprung = proxy.trap({ direction: 'out', text: 'finished', hold: 'in' });
    first.near.says('fini');
    await first.far.hears('fini');
    first.near.says('shed');
    await sprung;
    await first.far.hears('finished');
    first.far.says('an answer');
    second.near.says('finished');
    second.far.says('another');
    await second.near.hears('another');
    expect(first.near.got).toBe('');
    proxy.release();
    await first.near.hears('an answer');
  });

  it('holds the text itself, or what follows it', async () => {
    const both = await pair();
    const held = proxy.trap({ direction: 'out', text: 'one', hold: 'out' });
    both.near.says('one');
    await held;
    await proof(both, 'in');
    expect(both.far.got).toBe('');
    proxy.release();
    await both.far.hears('one');
    const passed = proxy.trap({ direction: 'out', text: 'two', hold: 'out', passes: true });
    both.near.says('two');
    await passed;
    await both.far.hears('onetwo');
    both.near.says('three');
    await proof(both, 'in');
    expect(both.far.got).toBe('onetwo');
    proxy.release();
    await both.far.hears('onetwothree');
  });
});
