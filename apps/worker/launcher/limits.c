#include "limits.h"

#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

static bool limit(int resource, const char *name, long long most, struct result *result)
{
    struct rlimit limit;
    if (most == 0) return true;
    if (getrlimit(resource, &limit) == 0) {
        /* Only a lower one: ours holds for the job in any case. */
        if ((rlim_t)most < limit.rlim_max) limit.rlim_max = (rlim_t)most;
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(resource, &limit) == 0) return true;
    }
    set_error(result, "the limit", name, "set", errno);
    return false;
}

bool set_limits(const struct order *order, struct result *result)
{
    /* In a cgroup memory and processes are the whole tree's. */
    bool each = order->isolation < ISOLATION_CGROUP;
    /* Not RLIMIT_AS: Node and Java reserve far more address space than they use. */
    return limit(RLIMIT_DATA, "memory", each ? order->memory : 0, result) &&
           limit(RLIMIT_NPROC, "processes", each ? order->processes : 0, result) &&
           limit(RLIMIT_NOFILE, "openFiles", order->open_files, result) &&
           limit(RLIMIT_FSIZE, "fileSize", order->file_size, result);
}
