#include "identity.h"

#include <errno.h>
#include <ftw.h>
#include <grp.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OPEN_FOLDERS = 32 };

static uid_t owner;

/* Nothing of the job runs yet, so nothing moves below our feet. */
static int give(const char *path, const struct stat *status, int kind, struct FTW *at)
{
    (void)kind;
    (void)at;
    if (status->st_uid == owner && status->st_gid == owner) return 0;
    return lchown(path, owner, owner);
}

bool give_files(const struct order *order, struct result *result)
{
    if (order->uid == 0) return true;
    owner = order->uid;
    for (char **path = order->writable; *path; path++)
        if (nftw(*path, give, OPEN_FOLDERS, FTW_PHYS) != 0) {
            set_error(result, "the folder", *path, "given to the job's user", errno);
            return false;
        }
    /* So that /dev/stdout can be opened. Where it cannot be given, what is open already serves. */
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        if (fchown(fd, owner, owner) != 0) continue;
    return true;
}

/* Not by the C library: its calls are for all threads, and until its exec this process has none of its own. */
bool become_user(const struct order *order, struct result *result)
{
    uid_t uid = order->uid;
    char name[32];
    if (uid == 0) return true;
    if (syscall(SYS_setgroups, 0, NULL) == 0 && syscall(SYS_setresgid, uid, uid, uid) == 0 &&
        syscall(SYS_setresuid, uid, uid, uid) == 0)
        return true;
    int error = errno;
    snprintf(name, sizeof name, "%u", uid);
    set_error(result, "the user", name, "taken", error);
    return false;
}
