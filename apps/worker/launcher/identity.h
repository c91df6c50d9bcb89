#ifndef LABHAND_IDENTITY_H
#define LABHAND_IDENTITY_H

#include "order.h"
#include "result.h"

/* Makes what the job may write, and its output, its own. False: the reason is in the result. */
bool give_files(const struct order *order, struct result *result);

/* In the job's process: becomes its user for good. */
bool become_user(const struct order *order, struct result *result);

#endif
