#include "cgroup.h"

#include "device.h"
#include "folders.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Microseconds over which the kernel shares out the processors, and the least of them that it takes. */
enum { PERIOD = 100000, LEAST_QUOTA = 1000 };

/* This job's group in each tree; NULL: it has none there. */
static char *group[CONTROLLERS];
static int joins[CONTROLLERS], join_count;

static bool needs_group(const struct order *order)
{
    return order->isolation == ISOLATION_CGROUP || order->cpu > 0 || order->io_read || order->io_write;
}

bool wants_group(const struct order *order)
{
    return needs_group(order) || order->memory || order->processes;
}

static bool wants(const struct order *order, enum controller controller)
{
    bool all = order->isolation == ISOLATION_CGROUP || folders_version() == 2;
    switch (controller) {
    case MEMORY:
        return all || order->memory;
    case CPU:
        return folders_version() == 2 || order->cpu > 0;
    case PROCESSES:
        return all || order->processes;
    case IO:
        return all || order->io_read || order->io_write;
    default:
        return all;
    }
}

static bool fail(struct result *result, const char *what, const char *name, const char *done, int error)
{
    set_error(result, what, name, done, error);
    return false;
}

static bool set(struct result *result, const char *name, enum controller controller, const char *file, const char *value)
{
    if (write_text(group[controller], file, value)) return true;
    return fail(result, "the limit", name, "set in the job's control group", errno);
}

static bool limit_memory(const struct order *order, struct result *result)
{
    char bytes[32];
    snprintf(bytes, sizeof bytes, "%lld", order->memory);
    if (folders_version() == 2) {
        /* No way around the limit, where there is swap; and nothing half is left when it is reached. */
        write_text(group[MEMORY], "memory.swap.max", "0");
        write_text(group[MEMORY], "memory.oom.group", "1");
        return set(result, "memory", MEMORY, "memory.max", bytes);
    }
    if (!set(result, "memory", MEMORY, "memory.limit_in_bytes", bytes)) return false;
    write_text(group[MEMORY], "memory.memsw.limit_in_bytes", bytes);
    return true;
}

static bool limit_processes(const struct order *order, struct result *result)
{
    char count[32];
    snprintf(count, sizeof count, "%lld", order->processes);
    return set(result, "processes", PROCESSES, "pids.max", count);
}

static bool limit_cpu(const struct order *order, struct result *result)
{
    char value[64];
    long long quota = (long long)(order->cpu * PERIOD);
    if (quota < LEAST_QUOTA) quota = LEAST_QUOTA;
    snprintf(value, sizeof value, folders_version() == 2 ? "%lld %d" : "%lld", quota, PERIOD);
    return set(result, "cpu", CPU, folders_version() == 2 ? "cpu.max" : "cpu.cfs_quota_us", value);
}

static bool limit_io(const struct order *order, struct result *result)
{
    char disk[64], value[128];
    if (!disk_of(order->directory, disk, sizeof disk))
        return fail(result, "the disk below", order->directory, "found, which its limits are for", errno);
    static const char *const files[2][2] = {
        { "blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device" }, { "io.max", "io.max" },
    };
    static const char *const names[] = { "ioRead", "ioWrite" }, *const keys[] = { "rbps=", "wbps=" };
    const long long limits[] = { order->io_read, order->io_write };
    bool second = folders_version() == 2;
    for (int i = 0; i < 2; i++) {
        if (limits[i] == 0) continue;
        snprintf(value, sizeof value, "%s %s%lld", disk, second ? keys[i] : "", limits[i]);
        if (!set(result, names[i], IO, files[second][i], value)) return false;
    }
    return true;
}

/* A limit that only groups enforce, or that a group is asked for, is nothing without one. */
static bool has_needed(const struct order *order, struct result *result)
{
    const struct { bool needed; enum controller controller; const char *what, *name; } all[] = {
        { order->isolation == ISOLATION_CGROUP, MEMORY, "the isolation", "cgroup" },
        { order->isolation == ISOLATION_CGROUP, PROCESSES, "the isolation", "cgroup" },
        { order->cpu > 0, CPU, "the limit", "cpu" },
        { order->io_read > 0, IO, "the limit", "ioRead" },
        { order->io_write > 0, IO, "the limit", "ioWrite" },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].needed && folder_for(all[i].controller) == NULL)
            return fail(result, all[i].what, all[i].name, "enforced without a control group", why_no_folder());
    /* Version 1 does not slow down what goes through the page cache, which is nearly all. */
    if (order->io_write > 0 && folders_version() == 1)
        return fail(result, "the limit", "ioWrite", "enforced by control groups of version 1", EOPNOTSUPP);
    return true;
}

static bool make_one(enum controller controller, struct result *result)
{
    char name[32];
    snprintf(name, sizeof name, "%d", getpid());
    group[controller] = path_in(folder_for(controller), name);
    if (group[controller] == NULL) return fail(result, "the control group", name, "made", ENOMEM);
    if (is_repeated(group, controller)) return true;
    if (mkdir(group[controller], 0755) != 0) return fail(result, "the control group", group[controller], "made", errno);
    char *members = path_in(group[controller], "cgroup.procs");
    /* Opened here: what a job may do counts for who opens it. */
    int fd = members ? open(members, O_WRONLY | O_CLOEXEC) : -1;
    free(members);
    if (fd < 0) return fail(result, "the control group", group[controller], "opened", errno);
    joins[join_count++] = fd;
    return true;
}

bool make_group(const struct order *order, struct result *result)
{
    if (!wants_group(order)) return true;
    if (!has_needed(order, result)) return false;
    for (enum controller c = 0; c < CONTROLLERS; c++)
        if (folder_for(c) && wants(order, c) && !make_one(c, result)) return false;
    if (order->memory && group[MEMORY] && !limit_memory(order, result)) return false;
    if (order->processes && group[PROCESSES] && !limit_processes(order, result)) return false;
    if (order->cpu > 0 && !limit_cpu(order, result)) return false;
    return (order->io_read == 0 && order->io_write == 0) || limit_io(order, result);
}

bool group_limits_memory(void)
{
    return group[MEMORY] != NULL;
}

bool group_limits_processes(void)
{
    return group[PROCESSES] != NULL;
}

bool join_group(struct result *result)
{
    for (int i = 0; i < join_count; i++)
        if (write(joins[i], "0", 1) < 0) return fail(result, "the control group", "of the job", "joined (write)", errno);
    return true;
}

/* Freezing takes effect when each process has noticed. */
static void await(const char *file, const char *wanted)
{
    char text[512];
    for (int tries = 0; tries < 1000; tries++) {
        if (!read_text(group[FREEZER], file, text, sizeof text) || strstr(text, wanted)) return;
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
    }
}

bool freeze_group(bool frozen)
{
    if (group[FREEZER] == NULL) return false;
    if (folders_version() == 2) {
        if (!write_text(group[FREEZER], "cgroup.freeze", frozen ? "1" : "0")) return false;
        if (frozen) await("cgroup.events", "frozen 1");
    } else {
        if (!write_text(group[FREEZER], "freezer.state", frozen ? "FROZEN" : "THAWED")) return false;
        if (frozen) await("freezer.state", "FROZEN");
    }
    return true;
}

void kill_group(void)
{
    if (group[FREEZER]) kill_all_in(group[FREEZER]);
}

/* The number behind a name, or the whole of a file where that is "". -1: it is not there. */
static long long number_in(enum controller controller, const char *file, const char *name)
{
    char text[4096], *at = text;
    size_t length = strlen(name);
    if (group[controller] == NULL || !read_text(group[controller], file, text, sizeof text)) return -1;
    while (length && at && (strncmp(at, name, length) != 0 || at[length] != ' ')) {
        at = strchr(at, '\n');
        if (at) at++;
    }
    if (at == NULL) return -1;
    char *end;
    long long number = strtoll(at + length, &end, 10);
    return end == at + length ? -1 : number;
}

/* Of all disks; the names are "rbytes=" of version 2, "Read " of version 1. */
static long long sum_in(const char *file, const char *name)
{
    char text[8192];
    long long sum = 0;
    if (group[IO] == NULL || !read_text(group[IO], file, text, sizeof text)) return -1;
    for (const char *at = strstr(text, name); at; at = strstr(at + 1, name)) sum += atoll(at + strlen(name));
    return sum;
}

/* Version 1 counts the bytes of a group only where they are limited: then the sum of the single processes is more. */
static void take(long long *figure, long long counted)
{
    if (counted > *figure) *figure = counted;
}

static void measure(struct result *result)
{
    bool second = folders_version() == 2;
    long long memory = number_in(MEMORY, second ? "memory.peak" : "memory.max_usage_in_bytes", "");
    if (memory >= 0) result->max_memory_kb = (long)(memory / 1024);
    long long processes = number_in(PROCESSES, "pids.peak", "");
    if (processes > 0) result->max_processes = (long)processes;
    long long cpu = second ? number_in(CPU_TIME, "cpu.stat", "usage_usec") : number_in(CPU_TIME, "cpuacct.usage", "");
    if (cpu >= 0) result->cpu_seconds = (double)cpu / (second ? 1e6 : 1e9);
    take(&result->read_bytes, second ? sum_in("io.stat", "rbytes=") : sum_in("blkio.throttle.io_service_bytes", "Read "));
    take(&result->written_bytes, second ? sum_in("io.stat", "wbytes=") : sum_in("blkio.throttle.io_service_bytes", "Write "));
}

static bool succeeded(const struct result *result)
{
    return WIFEXITED(result->status) && WEXITSTATUS(result->status) == 0;
}

void measure_group(struct result *result)
{
    if (join_count == 0 || !result->ran) return;
    measure(result);
    const char *file = folders_version() == 2 ? "memory.events" : "memory.oom_control";
    /* One that lost a process to its limit and went on is no failure. */
    if (number_in(MEMORY, file, "oom_kill") > 0 && strcmp(result->cause, "exit") == 0 && !succeeded(result))
        result->cause = "out_of_memory";
}

void remove_group(void)
{
    for (enum controller c = 0; c < CONTROLLERS; c++)
        if (group[c] && !is_repeated(group, c)) remove_empty(group[c]);
}

void remove_group_of(pid_t supervisor)
{
    char name[32];
    snprintf(name, sizeof name, "%d", supervisor);
    for (enum controller c = 0; c < CONTROLLERS; c++) {
        char *path = folder_for(c) ? path_in(folder_for(c), name) : NULL;
        if (path) remove_empty(path);
        free(path);
    }
}
