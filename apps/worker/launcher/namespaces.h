#ifndef LABHAND_NAMESPACES_H
#define LABHAND_NAMESPACES_H

#include "order.h"
#include "result.h"

#include <stdbool.h>
#include <sys/types.h>

/* What a supervisor shares with the first process of its job's namespaces, in memory of both. */
struct inside {
    volatile bool asked; /* by the supervisor: the job's last process is waited for, not its main one alone */
    volatile bool ran;   /* from here on by the first process: the job's main process ended, with this status */
    volatile int status;
    struct result result; /* only its error: why the job never ran */
};

/*
 * Starts the job in namespaces of its own, through a user namespace where we may not make the others. The process that
 * it returns the number of is the first in them: it waits for what the job leaves behind and ends when the job is over,
 * which ends everything in there. -1: the reason is in the result.
 */
pid_t start_in_namespaces(const struct order *order, struct inside **inside, struct result *result);

/*
 * In the job's main process. Root itself would undo its namespaces with them; under PR_SET_NO_NEW_PRIVS no program that
 * root starts gets them back.
 */
bool give_up_capabilities(struct result *result);

/* A signal to the job's main process, or to its group. */
void signal_inside(pid_t first, int signal, bool group);

#endif
