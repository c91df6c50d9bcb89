import { bullMq } from './bullmq.js';
import { celery } from './celery.js';
import { comparison } from './comparison.js';

/** The work of `throughput` by others. */
export const peers = comparison([bullMq, celery]);
