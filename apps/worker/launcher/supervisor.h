#ifndef LABHAND_SUPERVISOR_H
#define LABHAND_SUPERVISOR_H

#include "order.h"

#include <signal.h>
#include <sys/types.h>

/* Longer orders go to a supervisor made for them, which finds them in its memory. */
enum { LONGEST_ON_LINE = 32 << 10 };
/* Sent to a supervisor after each order on its line that is not a start: it does not look there while a job runs. */
#define LOOK_AT_LINE SIGURG

/* What a supervisor has of the launcher. */
struct post {
    pid_t launcher;
    int line; /* orders come in here, each a message; its end is the end of the supervisor, once its job is over */
    int free; /* its number goes out here when it is ready for another job */
};

/* Whether its supervisor has no job before it and none after it. */
bool needs_own_supervisor(const struct order *order);

/*
 * Runs a job from start until nothing of it is left, in a process of its own, and reports; and then others that come on
 * its line, unless the first one needed its own. All signals must be blocked. Never returns.
 */
_Noreturn void supervise(const struct order *first, const struct post *post);

#endif
