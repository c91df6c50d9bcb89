#ifndef LABHAND_TREE_H
#define LABHAND_TREE_H

#include <stdbool.h>
#include <sys/types.h>

/* Calls back for each child of a process, whichever of its threads had it. False: /proc does not tell. */
bool each_child(pid_t parent, void (*visit)(pid_t child, void *context), void *context);

/* A signal to every descendant of this process, once; those born meanwhile may be missed. */
void signal_descendants(int signal);

/* KILL to every child of this process and to the group that it leads. */
void kill_children(void);

#endif
