import { chmodSync, lstatSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Workspaces, type Workspace } from './workspace.js';

let folder: string;
let workspaces: Workspaces;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'labhand-workspaces-'));
  workspaces = new Workspaces(folder, 'worker');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function rootAfter(use: (workspace: Workspace) => void): Promise<{ before: string; after: string }> {
  const workspace = workspaces.take();
  use(workspace);
  await workspaces.giveBack(workspace);
  return { before: workspace.root, after: workspaces.take().root };
}

it('a workspace that nothing was done to is used again', async () => {
  const { before, after } = await rootAfter(() => undefined);
  expect(after).toBe(before);
});

it.each<[string, (workspace: Workspace) => string]>([
  ['working directory', ({ directory }) => directory],
  ['home', ({ home }) => home],
  ['root', ({ root }) => root],
])('one whose %s was changed, and changed back, is not', async (_name, path) => {
  const { before, after } = await rootAfter((workspace) => {
    const { mode, ctimeMs } = lstatSync(path(workspace));
    // A time stamp may be as coarse as the kernel's clock.
    while (lstatSync(path(workspace)).ctimeMs === ctimeMs) {
      chmodSync(path(workspace), 0o500);
      chmodSync(path(workspace), mode);
    }
  });
  expect(after).not.toBe(before);
  expect(lstatSync(before, { throwIfNoEntry: false })).toBeUndefined();
});

it.each<[string, (workspace: Workspace) => string]>([
  ['working directory', ({ directory }) => directory],
  ['home', ({ home }) => home],
  ['root', ({ root }) => root],
])('one in whose %s something was left is not', async (_name, path) => {
  const { before, after } = await rootAfter((workspace) => writeFileSync(join(path(workspace), 'left'), ''));
  expect(after).not.toBe(before);
});
