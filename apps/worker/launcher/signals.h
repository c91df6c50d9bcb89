#ifndef LABHAND_SIGNALS_H
#define LABHAND_SIGNALS_H

#include <stddef.h>

/* Such as SIGTERM; in the buffer where the signal has no name. */
const char *signal_name(int number, char *buffer, size_t size);
/* 0: no signal has that name. */
int signal_number(const char *name);

#endif
