#ifndef LABHAND_SUPERVISOR_H
#define LABHAND_SUPERVISOR_H

#include "order.h"

#include <signal.h>
#include <sys/types.h>

/* What the launcher sends to a supervisor. */
enum { END_JOB = SIGTERM, KILL_JOB = SIGUSR1 };
/* A signal that carries what to do: PAUSE_JOB, RESUME_JOB, or the number of a signal to the job, perhaps TO_GROUP. */
#define TELL_JOB SIGRTMIN
enum { PAUSE_JOB = 0x1000, RESUME_JOB = 0x2000, TO_GROUP = 0x4000 };

/*
 * Runs one job from start until nothing of it is left, in a process of its own, and reports. All signals must be
 * blocked. Never returns.
 */
_Noreturn void supervise(const struct order *order, pid_t launcher);

#endif
