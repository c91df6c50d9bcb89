import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** `out`: from those who connected to the server; `in`: back to them. */
export type Direction = 'out' | 'in';

export const BOTH: readonly Direction[] = ['out', 'in'];

/** Waits for a text, and then holds a direction of the connection that it passes on. */
export interface Trap {
  readonly direction: Direction;
  /** In bytes that pass; it is found across chunks too. */
  readonly text: string;
  /** Waits from then on, until `release`. Without it the trap only tells. */
  readonly hold?: Direction;
  /** Whether the chunk with the end of the text passes even where its own direction is held from then on. */
  readonly passes?: boolean;
}

/** What happens to what passes in one direction. */
interface Weather {
  held: boolean;
  dropping: boolean;
  delayMs: number;
  bytesPerSecond: number;
}

const fair = (): Weather => ({ held: false, dropping: false, delayMs: 0, bytesPerSecond: Infinity });

/**
 * A stretch of network between programs and a server, on which a test makes happen what happens on networks: to
 * connections that stand and to those that come, in each direction by itself, at the moment that the test wants.
 */
export class TcpProxy {
  private readonly wires = new Set<Wire>();
  private readonly server = createServer({ allowHalfOpen: true, noDelay: true }, (client) =>
    this.pass(client),
  );
  private readonly weather: Readonly<Record<Direction, Weather>> = { out: fair(), in: fair() };
  private traps: SetTrap[] = [];
  private refusing = false;

  /** @param target URL of the server, or of one that will be there later */
  constructor(private readonly target: string) {}

  /** @returns the URL of the target, by way of the proxy */
  async listen(port = 0): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(port, '127.0.0.1', resolve));
    const url = new URL(this.target);
    url.hostname = '127.0.0.1';
    url.port = String((this.server.address() as AddressInfo).port);
    return this.target.endsWith('/') ? url.href : url.href.replace(/\/$/, '');
  }

  /** Connections that stand. */
  get connections(): number {
    return this.wires.size;
  }

  /** Resets every connection; new ones are welcome. */
  cut(): void {
    for (const wire of this.wires) wire.cut();
  }

  /** Resets every connection, and each that comes, until `release`. */
  shut(): void {
    this.refusing = true;
    this.cut();
  }

  /** Keeps what comes, as a network that is away for a while does: after `release` it passes. */
  hold(directions = BOTH): void {
    for (const direction of directions) this.weather[direction].held = true;
  }

  /** Loses what comes, without a word to anybody, until `release`. */
  drop(directions = BOTH): void {
    for (const direction of directions) this.weather[direction].dropping = true;
  }

  /** Loses for ever what comes on the connections that stand; new ones work. So does a firewall that was restarted. */
  forget(): void {
    for (const wire of this.wires) for (const direction of BOTH) wire.lanes[direction].deaf = true;
  }

  /** @param delayMs that everything comes later */
  slow({ delayMs = 0, bytesPerSecond = Infinity }: Partial<Weather>, directions = BOTH): void {
    for (const direction of directions) Object.assign(this.weather[direction], { delayMs, bytesPerSecond });
  }

  /** Spoils one byte of what is held in this direction, when it passes. */
  corrupt(direction: Direction): void {
    for (const wire of this.wires) wire.lanes[direction].corrupt();
  }

  /** Tells the receivers of one direction that nothing more comes; the other direction goes on. */
  halfClose(direction: Direction): void {
    for (const wire of this.wires) wire.lanes[direction].halfClose();
  }

  /** Resolves when it has happened, before anything that the text leads to can pass. */
  trap(trap: Trap): Promise<void> {
    return new Promise((sprung) => this.traps.push({ ...trap, sprung }));
  }

  /** Lets everything pass as it should: what was held goes on its way, traps are taken away. */
  release(): void {
    this.traps = [];
    this.refusing = false;
    for (const direction of BOTH) {
      Object.assign(this.weather[direction], fair());
      for (const wire of this.wires) wire.lanes[direction].release();
    }
  }

  async close(): Promise<void> {
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.cut();
    await closed;
  }

  private pass(client: Socket): void {
    if (this.refusing) {
      reset(client.on('error', () => undefined));
      return;
    }
    const { hostname, port } = new URL(this.target);
    const server = connect({ host: hostname, port: Number(port), allowHalfOpen: true, noDelay: true });
    const wire: Wire = new Wire(client, server, this.weather, (direction, window) =>
      this.spring(wire, direction, window),
    );
    this.wires.add(wire);
    for (const socket of [client, server]) {
      socket.on('close', () => {
        if (client.destroyed && server.destroyed) this.wires.delete(wire);
      });
    }
  }

  /** @returns whether the chunk is to pass by what holds it */
  private spring(wire: Wire, direction: Direction, window: string): boolean {
    const found = this.traps.filter((trap) => trap.direction === direction && window.includes(trap.text));
    this.traps = this.traps.filter((trap) => !found.includes(trap));
    const passes = found.some((trap) => trap.passes);
    for (const { hold, sprung } of found) {
      if (hold) wire.lanes[hold].held = true;
      sprung();
    }
    return passes;
  }
}

interface SetTrap extends Trap {
  readonly sprung: () => void;
}

/** One connection by way of the proxy. */
class Wire {
  readonly lanes: Readonly<Record<Direction, Lane>>;

  constructor(
    private readonly client: Socket,
    private readonly server: Socket,
    weather: Readonly<Record<Direction, Weather>>,
    see: (direction: Direction, window: string) => boolean,
  ) {
    this.lanes = {
      out: new Lane(client, server, weather.out, (window) => see('out', window)),
      in: new Lane(server, client, weather.in, (window) => see('in', window)),
    };
  }

  cut(): void {
    reset(this.client);
    reset(this.server);
  }
}

type Item = Buffer | 'end' | 'reset';

interface Waiting {
  item: Item;
  readonly due: number;
  /** Although the lane is held. */
  readonly passes: boolean;
}

/** Bytes that a lane keeps before it lets its sender wait too. */
const MOST_KEPT = 2 ** 20;
/** Traps find texts up to this length across two chunks. */
const LOOK_BACK = 64;
/** How often a second a throttled lane sends. */
const TICKS = 20;

/** One direction of a connection. */
class Lane {
  /** By a trap. */
  held = false;
  /** Nothing that comes goes on. */
  deaf = false;
  private readonly waiting: Waiting[] = [];
  private kept = 0;
  private corruptNext = false;
  private timer?: NodeJS.Timeout;
  private freeAt = 0;
  private lastSeen = '';

  constructor(
    private readonly from: Socket,
    private readonly to: Socket,
    private readonly weather: Weather,
    private readonly see: (window: string) => boolean,
  ) {
    from.on('data', (chunk: Buffer) => this.take(chunk));
    from.on('end', () => this.take('end'));
    from.on('error', () => this.take('reset'));
    to.on('drain', () => this.pump());
  }

  corrupt(): void {
    this.corruptNext = this.waiting.length > 0;
  }

  release(): void {
    this.held = false;
    this.pump();
  }

  halfClose(): void {
    this.deaf = true;
    this.to.end();
  }

  private take(item: Item): void {
    const { dropping, delayMs } = this.weather;
    let passes = false;
    if (typeof item !== 'string') {
      const text = item.toString('latin1');
      passes = this.see(this.lastSeen + text);
      this.lastSeen = text.slice(-LOOK_BACK);
    }
    if (dropping || this.deaf) return;
    this.waiting.push({ item, due: Date.now() + delayMs, passes });
    this.kept += item.length;
    this.pump();
  }

  /** Sends what may go now, and comes again for what may go later. */
  private pump(): void {
    clearTimeout(this.timer);
    while (this.mayGo()) {
      const wait = Math.max(this.waiting[0]!.due, this.freeAt) - Date.now();
      if (wait > 0 && !this.isFair()) {
        this.timer = setTimeout(() => this.pump(), wait);
        break;
      }
      this.send(this.next());
    }
    if (this.kept > MOST_KEPT || this.to.writableNeedDrain) this.from.pause();
    else this.from.resume();
  }

  private mayGo(): boolean {
    return this.waiting.length > 0 && (this.waiting[0]!.passes || !(this.held || this.weather.held));
  }

  private isFair(): boolean {
    return this.weather.delayMs === 0 && this.weather.bytesPerSecond === Infinity;
  }

  /** All that waits first, or as much of it as may go at once. */
  private next(): Item {
    const first = this.waiting[0]!;
    const { item } = first;
    const most = Math.max(1, Math.floor(this.weather.bytesPerSecond / TICKS));
    if (typeof item === 'string' || item.length <= most) {
      this.waiting.shift();
      return item;
    }
    first.item = item.subarray(most);
    return item.subarray(0, most);
  }

  private send(item: Item): void {
    this.kept -= item.length;
    if (item === 'reset') reset(this.to);
    else if (item === 'end') this.to.end();
    else if (this.to.writable) this.to.write(this.corruptNext ? spoiled(item) : item);
    if (typeof item !== 'string') this.corruptNext = false;
    this.freeAt = Date.now() + (item.length * 1000) / this.weather.bytesPerSecond;
  }
}

/** One whose shutdown is under way cannot be reset: Node would leave it open, and this process could never end. */
function reset(socket: Socket): void {
  if (socket.writableEnded) socket.destroy();
  else socket.resetAndDestroy();
}

function spoiled(chunk: Buffer): Buffer {
  const copy = Buffer.from(chunk);
  const middle = copy.length >> 1;
  copy[middle] = copy[middle]! ^ 0xff;
  return copy;
}
