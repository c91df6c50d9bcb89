#ifndef LABHAND_LIMITS_H
#define LABHAND_LIMITS_H

#include "order.h"
#include "result.h"

/* In the job's process: what the kernel limits for each process. False: the reason is in the result. */
bool set_limits(const struct order *order, struct result *result);

#endif
