import { existsSync, readFileSync } from 'node:fs';
import { compilerOptions } from './test/support/swc-options.cjs';

// Nest 12 is ESM and Jest runs CommonJS without flags on every Node: installed packages that are ESM are compiled too.
const root = new URL('.', import.meta.url).pathname;

const typescript = ['@swc/jest', compilerOptions];
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

const common = {
  rootDir: root,
  testEnvironment: 'node',
  resolver: '<rootDir>/test/support/jest-resolver.cjs',
  moduleNameMapper: {
    '^#shared/(.*)$': '<rootDir>/libs/shared/src/$1',
    '^#gateway/(.*)$': '<rootDir>/apps/gateway/src/$1',
    '^#worker/(.*)$': '<rootDir>/apps/worker/src/$1',
  },
  transform: { '^.+\\.ts$': typescript, '^.+\\.m?js$': javascript },
  transformIgnorePatterns: [`/node_modules/(?!(.*/node_modules/)?(${esmPackages()})/)`],
  modulePathIgnorePatterns: ['<rootDir>/dist', '<rootDir>/.cache', '<rootDir>/.labhand'],
};

export default {
  rootDir: root,
  testTimeout: 60_000,
  maxWorkers: 2,
  projects: [
    {
      ...common,
      displayName: 'unit',
      testRegex: '/(apps|bench|examples|libs)/.*\\.spec\\.ts$',
    },
    {
      ...common,
      displayName: 'services',
      testRegex: '/test/.*\\.spec\\.ts$',
      globalSetup: '<rootDir>/test/support/global-setup.cjs',
      globalTeardown: '<rootDir>/test/support/global-teardown.cjs',
    },
  ],
};
