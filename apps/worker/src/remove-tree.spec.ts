import { chmodSync, existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { removeTree } from './remove-tree.js';

describe('removing a tree', () => {
  it('removes folders that their owner may not write to, beside others that go at once', async () => {
    for (let round = 0; round < 20; round++) {
      const root = mkdtempSync(join(tmpdir(), 'labhand-tree-'));
      for (const name of ['a', 'b', 'c', 'locked', 'x', 'y', 'z']) {
        mkdirSync(join(root, name, 'below'), { recursive: true });
        writeFileSync(join(root, name, 'file'), '');
      }
      chmodSync(join(root, 'locked'), 0o500);
      await removeTree(root);
      expect(existsSync(root)).toBe(false);
    }
  });

  it('has nothing to do where there is none', async () => {
    await expect(removeTree(join(tmpdir(), 'labhand-no-such-tree'))).resolves.toBeUndefined();
  });
});
