#ifndef LABHAND_MOUNTS_H
#define LABHAND_MOUNTS_H

#include "order.h"
#include "result.h"

#include <stdbool.h>

/*
 * Makes the file system that a job sees, in a mount namespace of our own: everything read-only but the order's writable
 * paths, /tmp and /dev/shm, which are its own; nothing below the hidden paths; /proc of our PID namespace; a /dev without
 * hardware. False: the reason is in the result. Needs Linux 5.12.
 */
bool make_view(const struct order *order, struct result *result);

#endif
