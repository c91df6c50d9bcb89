/** Of the worker, as it registers itself; package.json has the same. */
export const VERSION = '0.1.0';
