import { existsSync } from 'node:fs';
import { join } from 'node:path';

export interface LauncherPaths {
  /** The C program, or undefined where it was not built. */
  readonly native: string | undefined;
  readonly nodeProgram: string;
}

/**
 * Where the build puts the launchers, seen from the folder of the worker's main program: in the tree of `dist`, or
 * beside it where the worker was bundled.
 * @throws Error when not even the Node launcher is there
 */
export function launcherPaths(programFolder: string): LauncherPaths {
  const first = (...candidates: string[]) =>
    candidates.map((candidate) => join(programFolder, candidate)).find((path) => existsSync(path));
  const nodeProgram = first('node-launcher.js', 'node-launcher.cjs');
  if (nodeProgram === undefined) {
    throw new Error(
      `There is no launcher in ${programFolder}: expected node-launcher.js there. Build Labhand again.`,
    );
  }
  return { native: first('labhand-launcher', '../launcher/labhand-launcher'), nodeProgram };
}
