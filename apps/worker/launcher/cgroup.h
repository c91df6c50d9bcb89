#ifndef LABHAND_CGROUP_H
#define LABHAND_CGROUP_H

#include "order.h"
#include "result.h"

#include <stdbool.h>
#include <sys/types.h>

/*
 * Control groups of Linux, version 1 or 2: what limits and measures a tree as a whole. The launcher has a folder of its
 * own where groups can be made, locked while it or a job of it lives, and each job that wants one a group in it.
 */

/* The launcher, at its start: finds where groups can be made, and removes what killed launchers left there. */
void find_groups(const char *prepared);
/* The launcher, at its end. */
void leave_groups(void);

/* The launcher, before a job starts: makes its folder should this be the first job that wants a group. */
void prepare_groups(const struct order *order);
/* The launcher, of a job whose supervisor was killed. */
void remove_group_of(pid_t supervisor);

/* The supervisor: makes the job's group with its limits where it needs or prefers one. False: the reason is in the result. */
bool make_group(const struct order *order, struct result *result);
/* Whether there is a group that enforces these for the whole tree. */
bool group_limits_memory(void);
bool group_limits_processes(void);
/* The job's main process, before it gives up its rights. */
bool join_group(struct result *result);

/* Stops all of the tree at once or lets it go on. False: there is no group that can. */
bool freeze_group(bool frozen);
/* KILL to all of it, frozen or not. */
void kill_group(void);
/* What the kernel counted, in place of what was seen of single processes; and whether it killed for the memory limit. */
void measure_group(struct result *result);
/* When nothing of the job is left. */
void remove_group(void);

#endif
