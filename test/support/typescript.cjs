// Lets a plain Node process of the tests require the project's TypeScript as Jest does: Jest's global setup runs
// outside of Jest's own module system, which would do this.
const { readFileSync } = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const { transformSync } = require('@swc/core');
const { compilerOptions } = require('./swc-options.cjs');

const root = path.resolve(__dirname, '../..');
const subpaths = {
  '#shared/': 'libs/shared/src/',
  '#gateway/': 'apps/gateway/src/',
  '#worker/': 'apps/worker/src/',
};

const resolveFilename = Module._resolveFilename;
Module._resolveFilename = function (request, parent, ...rest) {
  return resolveFilename.call(this, sourceOf(request, parent?.filename) ?? request, parent, ...rest);
};

// './x.js' and '#shared/x.js' in a TypeScript source mean the .ts file there.
function sourceOf(request, from) {
  if (!from?.endsWith('.ts') || !request.endsWith('.js')) return undefined;
  const subpath = Object.keys(subpaths).find((prefix) => request.startsWith(prefix));
  const file = subpath
    ? path.join(root, subpaths[subpath], request.slice(subpath.length))
    : path.resolve(path.dirname(from), request);
  return subpath || request.startsWith('.') ? `${file.slice(0, -3)}.ts` : undefined;
}

Module._extensions['.ts'] = (module, filename) => {
  const { code } = transformSync(readFileSync(filename, 'utf8'), { ...compilerOptions, filename });
  module._compile(code, filename);
};
