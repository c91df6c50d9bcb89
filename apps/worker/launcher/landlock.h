#ifndef LABHAND_LANDLOCK_H
#define LABHAND_LANDLOCK_H

#include "order.h"
#include "result.h"

/*
 * In the launcher or a supervisor, ahead of a job: finds out what may be read where paths are hidden, which is the same for one job after
 * the other, and opening it all costs more than everything else that confines a job.
 */
void prepare_reading(const struct order *order);
/* Seconds for which it is used. */
enum { KEPT = 5 };
/* What is open keeps file systems mounted, and deleted files on the disk: to be called where no short job follows soon. */
void forget_prepared(void);
/* The same, of what was prepared that long ago. */
void forget_old(void);

/*
 * In the job's process: from now on it writes only below what is writable, reads nothing below what is hidden, and sees,
 * traces and signals no process but those of its job. False: isolation was asked for and the kernel cannot; the reason
 * is in the result.
 */
bool confine(const struct order *order, struct result *result);

#endif
