// `npm test`: everything that has to hold. With arguments, only Jest with these: `npm test -- apps/gateway`.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { setUp } from './setup.mjs';

const top = fileURLToPath(new URL('..', import.meta.url));
const RESULTS = path.join(top, '.cache/jest-results.json');
/** Read by .ci/run. */
const CLOSING_LINE = path.join(top, '.cache/closing-line');

const args = process.argv.slice(2);
await setUp();
const lint =
  args.length === 0 ? [run('prettier', '--check', '--log-level=warn', '.'), run('eslint', '.')] : [];
mkdirSync(path.dirname(RESULTS), { recursive: true });
rmSync(RESULTS, { force: true });
const jest = run('jest', '--json', `--outputFile=${RESULTS}`, ...args);
const { passed, failed } = counts(jest);
const lintFailures = lint.filter((code) => code !== 0).length;
writeFileSync(CLOSING_LINE, `${passed} passed, ${failed + lintFailures} failed\n`);
process.exit(jest === 0 && lintFailures === 0 ? 0 : 1);

/** Runs an installed tool in this terminal; its exit code. */
function run(tool, ...toolArgs) {
  const manifest = path.join(top, 'node_modules', tool, 'package.json');
  const { bin } = JSON.parse(readFileSync(manifest, 'utf8'));
  const script = path.join(path.dirname(manifest), typeof bin === 'string' ? bin : bin[tool]);
  const { status } = spawnSync(process.execPath, [script, ...toolArgs], { cwd: top, stdio: 'inherit' });
  return status ?? 1;
}

/** A file of tests that could not even be loaded is one failure; so is a Jest that failed otherwise. */
function counts(code) {
  if (!existsSync(RESULTS)) return { passed: 0, failed: 1 };
  const results = JSON.parse(readFileSync(RESULTS, 'utf8'));
  const broken = results.numFailedTests + results.numRuntimeErrorTestSuites;
  return { passed: results.numPassedTests, failed: code === 0 ? broken : Math.max(broken, 1) };
}
