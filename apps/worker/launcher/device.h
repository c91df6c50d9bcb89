#ifndef LABHAND_DEVICE_H
#define LABHAND_DEVICE_H

#include <stdbool.h>
#include <stddef.h>

/* The disk that a path lies on, as "major:minor", for limits of it. False: errno tells. */
bool disk_of(const char *path, char *number, size_t size);

#endif
