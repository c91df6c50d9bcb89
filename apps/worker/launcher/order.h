#ifndef LABHAND_ORDER_H
#define LABHAND_ORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* How far a job is kept from the rest; each includes the one before. As asked for: what was not need not be possible. */
enum isolation { ISOLATION_NOT_ASKED, ISOLATION_PROCESS, ISOLATION_NAMESPACES, ISOLATION_CGROUP };

/* One job as the worker wants it run. All strings lie in the frame that it was read from. */
struct order {
    const char *id;
    const char *directory;
    const char *out;
    const char *err;
    const char *record;
    double wall_time;  /* seconds, 0: no limit */
    double kill_grace; /* seconds between TERM and KILL */
    double idle_time;  /* seconds without output, 0: no limit */
    enum isolation isolation;
    /* Limits, 0: none. Bytes, but for the counts and, of cpu, cores. */
    double cpu;
    long long memory, processes, open_files, file_size, disk, io_read, io_write;
    bool network_off;
    uid_t uid;       /* of the job, and its gid; 0: ours */
    char **writable; /* NULL-terminated: paths that the job may write below; none: no restriction */
    char **hidden;   /* NULL-terminated: paths that it must not read below, unless they are writable */
    char **argv;       /* NULL-terminated; argv[-1] is a spare slot, for running a script by /bin/sh */
    char **envp;       /* NULL-terminated */
    /* A field that this program does not know or cannot read: the order must not be run without it. */
    const char *unknown;
};

/* Reads the fields after the verb. False: no memory. */
bool read_order(struct order *order, char *fields, size_t size);
void free_order(struct order *order);

/* The value of NAME in an environment, or NULL. */
const char *env_value(char **envp, const char *name);

#endif
