#ifndef LABHAND_CHILD_H
#define LABHAND_CHILD_H

#include "order.h"
#include "result.h"

#include <stdbool.h>
#include <sys/types.h>

/* Makes the job's input and outputs those of this process. False: the reason is in the result. */
bool open_files(const struct order *order, struct result *result);

/* Starts the job's main process. Returns its number, or -1 with the reason in the result. */
pid_t start_child(const struct order *order, struct result *result);

#endif
