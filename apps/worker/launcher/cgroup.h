#ifndef LABHAND_CGROUP_H
#define LABHAND_CGROUP_H

#include "order.h"
#include "result.h"

#include <stdbool.h>
#include <sys/types.h>

/* The control group of a job, version 1 or 2 of Linux: limits and measures its tree as a whole. */

/* Whether the job needs a group, or is limited better by one: then the launcher must have its folders. */
bool wants_group(const struct order *order);
/* The launcher, of a job whose supervisor was killed. */
void remove_group_of(pid_t supervisor);

/* The supervisor: makes the group with its limits. False: the reason is in the result. */
bool make_group(const struct order *order, struct result *result);
/* Whether there is a group that enforces these for the whole tree. */
bool group_limits_memory(void);
bool group_limits_processes(void);
/* The job's main process, while it has the rights of the supervisor. */
bool join_group(struct result *result);

/* Stops the tree at once or lets it go on. False: there is no group that can. */
bool freeze_group(bool frozen);
/* KILL to all of it, frozen or not. */
void kill_group(void);
/* What the kernel counted, in place of what was seen of single processes; and whether it killed for the memory limit. */
void measure_group(struct result *result);
/* When nothing of the job is left. */
void remove_group(void);

#endif
