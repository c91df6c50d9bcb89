/**
 * Makes a program larger from outside: `node --import 'file:///.../ballast.js?mib=300' main.js` holds so many MiB, every
 * page of them written to, until it ends.
 */

const mib = Number(new URL(import.meta.url).searchParams.get('mib'));
Object.assign(globalThis, { ballast: Array.from({ length: mib }, () => Buffer.alloc(2 ** 20, 1)) });
