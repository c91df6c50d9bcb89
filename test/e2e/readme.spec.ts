import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { StandaloneProcess } from '../support/standalone.js';

const TOP = path.resolve(__dirname, '../..');

/** A shell block of the README that is marked to be run, and what its output has to hold. */
interface Block {
  readonly script: string;
  readonly expected: string;
}

function markedBlocks(markdown: string): Block[] {
  const marked = /<!-- run(?:: (.*?))? -->\n\n```sh\n(.*?)```/gs;
  return [...markdown.matchAll(marked)].map(([, expected = '', script]) => ({ expected, script: script! }));
}

describe('README.md', () => {
  let folder: string;
  let standalone: StandaloneProcess;

  beforeAll(async () => {
    if (spawnSync('curl', ['--version']).error) {
      throw new Error(
        'the commands of README.md need curl: install it (apt-get install curl) and test again',
      );
    }
    folder = mkdtempSync(path.join(os.tmpdir(), 'labhand-readme-'));
    // A temporary folder is closed to others; as root Postgres runs as one of them.
    spawnSync('chmod', ['711', folder]);
    standalone = await StandaloneProcess.start(path.join(folder, 'data'));
    symlinkSync(path.join(folder, 'data'), path.join(folder, '.labhand'));
  });
  afterAll(async () => {
    await standalone.end('SIGTERM');
    rmSync(folder, { recursive: true, force: true });
  });

  it('has commands that work as they stand, one after the other', () => {
    const blocks = markedBlocks(readFileSync(path.join(TOP, 'README.md'), 'utf8'));
    expect(blocks.length).toBeGreaterThan(5);
    const script = blocks.map((block) => `echo "## block"\n${block.script}\necho`).join('\n');
    const { status, stdout, stderr } = spawnSync('bash', ['-euc', adapted(script)], {
      cwd: folder,
      encoding: 'utf8',
      // Bash takes a socket for a login from afar, and reads the machine's settings.
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, LABHAND_DATA: path.join(folder, 'data') },
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const outputs = stdout.split('## block\n').slice(1);
    blocks.forEach(({ expected }, index) => expect(outputs[index]).toContain(expected));
  });

  /** The same commands, at this server's address and with the example's files kept in the test's folder. */
  function adapted(script: string): string {
    return script
      .replaceAll('http://127.0.0.1:8080', standalone.url)
      .replace('npm run example', `node ${TOP}/examples/run.mjs --out ${folder}/out`);
  }
});
