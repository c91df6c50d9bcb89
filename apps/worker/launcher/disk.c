#include "disk.h"

#include "result.h"

#include <ftw.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

/* Seconds between two looks, and how many times longer than a look at least. */
#define FIRST_PAUSE 0.05
#define PAUSE 0.2
#define LOOK_SHARE 20
/* Nobody nests folders deeper but to be lost from sight: counts as too much. */
enum { OPEN_FOLDERS = 8, DEEPEST = 2000, STACK = 2 << 20 };

static const struct order *job;
static int told_by;
static long long used;
static atomic_bool full;

static int add(const char *path, const struct stat *status, int kind, struct FTW *at)
{
    (void)path;
    if (kind == FTW_NS) return 0;
    long long size = (long long)status->st_blocks * 512;
    /* A file of several names is met as often. */
    if (!S_ISDIR(status->st_mode) && status->st_nlink > 1) size /= (long long)status->st_nlink;
    used += size;
    return used > job->disk || at->level > DEEPEST;
}

static bool look(void)
{
    used = 0;
    for (char **path = job->writable; *path; path++)
        /* Entering the folders one by one: their paths may be longer than the kernel takes. */
        if (nftw(*path, add, OPEN_FOLDERS, FTW_PHYS | FTW_MOUNT | FTW_CHDIR) > 0) return true;
    return false;
}

static void rest(double seconds)
{
    struct timespec time = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
    nanosleep(&time, NULL);
}

static void *watch(void *unused)
{
    rest(FIRST_PAUSE);
    for (;;) {
        double begin = now();
        if (look()) break;
        double taken = now() - begin;
        rest(taken * LOOK_SHARE > PAUSE ? taken * LOOK_SHARE : PAUSE);
    }
    atomic_store(&full, true);
    kill(getpid(), told_by);
    return unused;
}

bool watch_disk(const struct order *order, int signal)
{
    pthread_t thread;
    pthread_attr_t attributes;
    job = order;
    told_by = signal;
    return pthread_attr_init(&attributes) == 0 && pthread_attr_setstacksize(&attributes, STACK) == 0 &&
           pthread_create(&thread, &attributes, watch, NULL) == 0;
}

bool disk_is_full(void)
{
    return atomic_load(&full);
}
