#ifndef LABHAND_RESULT_H
#define LABHAND_RESULT_H

#include <stdbool.h>
#include <sys/resource.h>
#include <time.h>

/* How a job went, as it is written to its record and told to the worker. */
struct result {
    const char *cause; /* exit, timeout, idle, disk, out_of_memory, ended, spawn_error */
    bool ran;
    int status; /* of the main process, as from wait() */
    char error[512];
    struct timespec started;  /* wall clock */
    double started_at;        /* seconds of the monotonic clock */
    double cpu_seconds;       /* user and system, of every process that was waited for */
    long max_memory_kb;       /* resident, of the largest process */
    long max_processes;       /* seen at once */
    long long read_bytes;     /* from storage, by every process that was waited for */
    long long written_bytes;
    double paused_seconds;
};

/* Seconds of a clock that nobody sets. */
double now(void);
void begin_result(struct result *result);
void add_usage(struct result *result, const struct rusage *usage);
/* "<what> <name> could not be <done>: <ERRNO>" */
void set_error(struct result *result, const char *what, const char *name, const char *done, int error);
/* The one that was set in another process. */
void take_error(struct result *result, const struct result *from);

/* Writes the record, then the answer: who lost the answer finds the record. */
void report_ended(const char *id, const char *record, const struct result *result, bool answer);
/* groups: the version of control groups that jobs may have, 0 for none */
void report_ready(int groups);
/* what: paused, resumed */
void report_state(const char *what, const char *id);

#endif
