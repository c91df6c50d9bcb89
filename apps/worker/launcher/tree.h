#ifndef LABHAND_TREE_H
#define LABHAND_TREE_H

#include <stdbool.h>
#include <sys/types.h>

/* Calls back for each child of a process, whichever of its threads had it. False: /proc does not tell. */
bool each_child(pid_t parent, void (*visit)(pid_t child, void *context), void *context);

/* A signal to every descendant of this process, once; those born meanwhile may be missed. */
void signal_descendants(int signal);

/*
 * One round of SIGSTOP to every descendant of this process. True: each was stopped already before it, or is about to be
 * when the kernel lets it go, so that none runs and none can have been born since.
 */
bool stop_descendants(void);

/* Of this process, dead ones that nobody waited for included. */
long count_descendants(void);

/* KILL to every child of this process and to the group that it leads. */
void kill_children(void);

#endif
