/** Of the whole project; the release process keeps it equal to package.json, and a test checks it. */
export const VERSION = '0.1.0';
