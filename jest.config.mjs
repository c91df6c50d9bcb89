import { existsSync, readFileSync } from 'node:fs';

// Nest 12 is ESM and Jest runs CommonJS without flags on every Node: installed packages that are ESM are compiled too.
const root = new URL('.', import.meta.url).pathname;

const typescript = [
  '@swc/jest',
  {
    swcrc: false,
    jsc: {
      parser: { syntax: 'typescript', decorators: true },
      transform: { legacyDecorator: true, decoratorMetadata: true },
      target: 'es2022',
      keepClassNames: true,
    },
    module: { type: 'commonjs' },
    sourceMaps: 'inline',
  },
];
const javascript = [
  '@swc/jest',
  {
    swcrc: false,
    jsc: { parser: { syntax: 'ecmascript' }, target: 'es2022' },
    module: { type: 'commonjs' },
  },
];

function esmPackages() {
  const { packages } = JSON.parse(readFileSync(`${root}package-lock.json`, 'utf8'));
  const isEsm = (path) => {
    const manifest = `${root}${path}/package.json`;
    return existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).type === 'module';
  };
  const names = Object.keys(packages)
    .filter((path) => path.startsWith('node_modules/') && isEsm(path))
    .map((path) => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length));
  return [...new Set(names)].map((name) => name.replace(/[.+]/g, '\\$&')).join('|');
}

export default {
  rootDir: root,
  testEnvironment: 'node',
  testRegex: '\\.spec\\.ts$',
  resolver: '<rootDir>/test/support/jest-resolver.cjs',
  moduleNameMapper: {
    '^#shared/(.*)$': '<rootDir>/libs/shared/src/$1',
    '^#gateway/(.*)$': '<rootDir>/apps/gateway/src/$1',
    '^#worker/(.*)$': '<rootDir>/apps/worker/src/$1',
  },
  transform: { '^.+\\.ts$': typescript, '^.+\\.m?js$': javascript },
  transformIgnorePatterns: [`/node_modules/(?!(.*/node_modules/)?(${esmPackages()})/)`],
  modulePathIgnorePatterns: ['<rootDir>/dist', '<rootDir>/.cache', '<rootDir>/.labhand'],
  testTimeout: 60_000,
};
