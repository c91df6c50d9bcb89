#ifndef LABHAND_CHILD_H
#define LABHAND_CHILD_H

#include "order.h"
#include "result.h"

#include <stdbool.h>
#include <sys/types.h>

/* Opens the job's input and outputs, close-on-exec. False: the reason is in the result, and some may be open. */
bool open_files(const struct order *order, int files[3], struct result *result);
/* Makes them those of this process. */
void use_files(const int files[3]);

/* Starts the job's main process. Returns its number, or -1 with the reason in the result. */
pid_t start_child(const struct order *order, struct result *result);

#endif
