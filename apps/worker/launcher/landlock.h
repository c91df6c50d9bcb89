#ifndef LABHAND_LANDLOCK_H
#define LABHAND_LANDLOCK_H

#include "order.h"
#include "result.h"

/*
 * In the job's process: from now on it writes only below what is writable, reads nothing below what is hidden, and sees,
 * traces and signals no process but those of its job. False: isolation was asked for and the kernel cannot; the reason
 * is in the result.
 */
bool confine(const struct order *order, struct result *result);

#endif
