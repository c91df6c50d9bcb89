#ifndef LABHAND_DISK_H
#define LABHAND_DISK_H

#include "order.h"

#include <stdbool.h>

/*
 * Adds up, in a thread of its own, what lies in the writable folders of a job with a disk limit, again and again, for at
 * most a twentieth of a core. When that is more than the limit, this process gets the signal. False: the thread could
 * not be started.
 */
bool watch_disk(const struct order *order, int signal);
bool disk_is_full(void);

#endif
