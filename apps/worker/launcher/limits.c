#include "limits.h"

#include "cgroup.h"

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

/* The kernel counts the processes of a user: they are the job's alone where the user is, or its namespace of users. */
static bool has_user_of_its_own(const struct order *order)
{
    return order->uid != 0 || (order->isolation >= ISOLATION_NAMESPACES && geteuid() != 0);
}

bool set_limits(const struct order *order, struct result *result)
{
    /*
     * A control group limits memory and processes of the whole tree. Not RLIMIT_AS: Node and Java reserve far more
     * address space than they use.
     */
    if (order->processes && !group_limits_processes() && !has_user_of_its_own(order)) {
        set_error(result, "the limit", "processes", "enforced without a user or a control group of the job's own", EPERM);
        return false;
    }
    return limit(RLIMIT_DATA, "memory", group_limits_memory() ? 0 : order->memory, result) &&
           limit(RLIMIT_NPROC, "processes", group_limits_processes() ? 0 : order->processes, result) &&
           limit(RLIMIT_NOFILE, "openFiles", order->open_files, result) &&
           limit(RLIMIT_FSIZE, "fileSize", order->file_size, result);
}
