#ifndef LABHAND_ORDER_H
#define LABHAND_ORDER_H

#include <stdbool.h>
#include <stddef.h>

/* One job as the worker wants it run. All strings lie in the frame that it was read from. */
struct order {
    const char *id;
    const char *directory;
    const char *out;
    const char *err;
    const char *record;
    double wall_time;  /* seconds, 0: no limit */
    double kill_grace; /* seconds between TERM and KILL */
    char **argv;       /* NULL-terminated; argv[-1] is a spare slot, for running a script by /bin/sh */
    char **envp;       /* NULL-terminated */
    const char *unknown; /* a field that this program does not know: the order must not be run without it */
};

/* Reads the fields after the verb. False: no memory. */
bool read_order(struct order *order, char *fields, size_t size);
void free_order(struct order *order);

/* The value of NAME in an environment, or NULL. */
const char *env_value(char **envp, const char *name);

#endif
