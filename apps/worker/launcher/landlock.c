#include "landlock.h"

#include "seccomp.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Not from <linux/landlock.h>: it is built where that is not there, and runs where the kernel is newer. */
enum { CREATE_RULESET = 444, ADD_RULE = 445, RESTRICT_SELF = 446 };
enum { WANT_VERSION = 1, PATH_BENEATH = 1 };

#define EXECUTE (1ull << 0)
#define WRITE_FILE (1ull << 1)
#define READ_FILE (1ull << 2)
#define READ_DIR (1ull << 3)
#define REMOVE_FILE (1ull << 5)
#define MAKE_REG (1ull << 8)
#define REFER (1ull << 13)    /* from the second version on */
#define TRUNCATE (1ull << 14) /* from the third; before it a filter of calls keeps files from being cut */

#define READING (EXECUTE | READ_FILE | READ_DIR)
#define MAKING_AND_REMOVING 0x1ff0ull
#define WRITING (WRITE_FILE | MAKING_AND_REMOVING | REFER | TRUNCATE)
/* All that can be granted of a file that is no folder. */
#define OF_FILES (EXECUTE | READ_FILE | WRITE_FILE | TRUNCATE)

/* From the sixth version on: no abstract socket and no signal to whoever is not of the job. */
#define SCOPES 3ull

/* Beyond that nothing is prepared. */
enum { MOST_READABLE = 400, MOST_LISTED = 16 };
/* Seconds within which a folder may change without a new time stamp, and more. */
#define STAMP 0.05

struct ruleset {
    uint64_t files, network, scopes;
};

struct __attribute__((packed)) rule {
    uint64_t granted;
    int32_t fd;
};

/* What is readable beside hidden paths, open; and the folders that it was read from, as they were then. */
struct readable {
    char **hidden; /* real paths, NULL-terminated */
    struct {
        int fd;
        bool is_folder;
    } found[MOST_READABLE];
    int count;
    struct {
        char *path;
        struct timespec changed;
    } listed[MOST_LISTED];
    int folders;
    bool complete; /* there was room for all of it */
    bool settled;  /* nothing changed so shortly before that its time stamp could hide another change */
    double since;
};

static struct readable prepared;

struct confinement {
    int fd;
    uint64_t handled;
    char **hidden;             /* real paths, NULL-terminated; NULL: what is prepared serves */
    struct readable *collects; /* instead of granting */
};

static bool is_folder(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISDIR(status.st_mode);
}

static void grant_fd(const struct confinement *to, int fd, bool folder, uint64_t rights)
{
    rights &= to->handled;
    if (!folder) rights &= OF_FILES;
    struct rule rule = { rights, fd };
    /* Where a right cannot be granted the job has to do without. */
    if (rights) syscall(ADD_RULE, to->fd, PATH_BENEATH, &rule, 0);
}

static void grant(const struct confinement *to, const char *path, uint64_t rights, int flags)
{
    int fd = open(path, O_PATH | O_CLOEXEC | flags);
    if (fd < 0) return;
    if (to->collects && to->collects->count < MOST_READABLE) {
        to->collects->found[to->collects->count].fd = fd;
        to->collects->found[to->collects->count++].is_folder = is_folder(fd);
        return;
    }
    if (to->collects) to->collects->complete = false;
    else grant_fd(to, fd, is_folder(fd), rights);
    close(fd);
}

static void note_folder(struct readable *readable, const char *path)
{
    struct stat status;
    struct timespec time;
    if (readable->folders == MOST_LISTED || stat(path, &status) != 0) {
        readable->complete = false;
        return;
    }
    clock_gettime(CLOCK_REALTIME, &time);
    double age = (double)(time.tv_sec - status.st_mtim.tv_sec) + (double)(time.tv_nsec - status.st_mtim.tv_nsec) / 1e9;
    if (age < STAMP) readable->settled = false;
    readable->listed[readable->folders].changed = status.st_mtim;
    readable->listed[readable->folders++].path = strdup(path);
}

static bool lies_below(const char *path, const char *folder)
{
    size_t length = strcmp(folder, "/") == 0 ? 0 : strlen(folder);
    return strncmp(path, folder, length) == 0 && path[length] == '/';
}

static void grant_reading(const struct confinement *to, const char *path);

static void grant_reading_of(const struct confinement *to, const char *folder, const char *name, int length)
{
    char path[PATH_MAX];
    if (length == 0 || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) return;
    if (snprintf(path, sizeof path, "%s/%.*s", folder[1] ? folder : "", length, name) < (int)sizeof path)
        grant_reading(to, path);
}

/*
 * Rights hold for all that lies below, and none can be taken back further down: so a folder on the way to a hidden one is
 * granted entry by entry. It cannot be listed itself then, and what is made in it later cannot be read.
 */
static void grant_entries(const struct confinement *to, const char *folder)
{
    if (to->collects) note_folder(to->collects, folder);
    DIR *entries = opendir(folder);
    struct dirent *entry;
    while (entries && (entry = readdir(entries)))
        /* A link's target is granted, or not, where it lies. */
        if (entry->d_type != DT_LNK) grant_reading_of(to, folder, entry->d_name, (int)strlen(entry->d_name));
    if (entries) {
        closedir(entries);
        return;
    }
    /* It cannot be listed but perhaps be passed: at least the ways on to what is hidden. */
    size_t length = strcmp(folder, "/") == 0 ? 0 : strlen(folder);
    for (char **hidden = to->hidden; *hidden; hidden++)
        if (lies_below(*hidden, folder)) {
            const char *name = *hidden + length + 1;
            grant_reading_of(to, folder, name, (int)strcspn(name, "/"));
        }
}

static void grant_reading(const struct confinement *to, const char *path)
{
    bool leads_there = false;
    for (char **hidden = to->hidden; *hidden; hidden++) {
        if (strcmp(*hidden, path) == 0) return;
        leads_there |= lies_below(*hidden, path);
    }
    if (leads_there) grant_entries(to, path);
    else grant(to, path, READING, O_NOFOLLOW);
}

static void free_paths(char **paths)
{
    for (char **path = paths; path && *path; path++) free(*path);
    free(paths);
}

/* The hidden paths without links in them, or NULL with the reason in the result. */
static char **real_paths(char **paths, struct result *result)
{
    size_t count = 0;
    while (paths[count]) count++;
    char **real = calloc(count + 1, sizeof *real);
    for (size_t i = 0; real && i < count; i++)
        if ((real[i] = realpath(paths[i], NULL)) == NULL) {
            set_error(result, "the path", paths[i], "hidden", errno);
            free_paths(real);
            return NULL;
        }
    return real;
}

static bool same_paths(char *const *one, char *const *other)
{
    while (*one && *other && strcmp(*one, *other) == 0) one++, other++;
    return *one == *other;
}

/*
 * Whether what is prepared is what these paths ask for. They are the same as then, without links; and had a folder on the
 * way to one become a link since, the folder that it lies in would have changed.
 */
static bool is_prepared(char *const *hidden)
{
    if (!prepared.complete || prepared.hidden == NULL || !same_paths(prepared.hidden, hidden)) return false;
    for (int i = 0; i < prepared.folders; i++) {
        struct stat status;
        if (prepared.listed[i].path == NULL || stat(prepared.listed[i].path, &status) != 0) return false;
        struct timespec then = prepared.listed[i].changed, now = status.st_mtim;
        if (then.tv_sec != now.tv_sec || then.tv_nsec != now.tv_nsec) return false;
    }
    return true;
}

void forget_old(void)
{
    if (prepared.hidden && now() >= prepared.since + KEPT) forget_prepared();
}

void forget_prepared(void)
{
    for (int i = 0; i < prepared.count; i++) close(prepared.found[i].fd);
    for (int i = 0; i < prepared.folders; i++) free(prepared.listed[i].path);
    free_paths(prepared.hidden);
    prepared = (struct readable){ .hidden = NULL };
}

void prepare_reading(const struct order *order)
{
    struct result unused;
    if (order->hidden[0] == NULL || order->isolation >= ISOLATION_NAMESPACES) return;
    forget_old();
    if (prepared.settled && is_prepared(order->hidden)) return;
    char **hidden = real_paths(order->hidden, &unused);
    if (hidden == NULL) return;
    forget_prepared();
    prepared.hidden = hidden;
    prepared.since = now();
    prepared.complete = prepared.settled = true;
    struct confinement collecting = { .hidden = hidden, .collects = &prepared };
    grant_reading(&collecting, "/");
}

static void grant_readable(const struct confinement *to)
{
    if (to->hidden) {
        grant_reading(to, "/");
        return;
    }
    for (int i = 0; i < prepared.count; i++)
        grant_fd(to, prepared.found[i].fd, prepared.found[i].is_folder, READING);
}

static uint64_t rights_of(long version)
{
    uint64_t rights = READING | WRITING;
    if (version < 2) rights &= ~REFER;
    if (version < 3) rights &= ~TRUNCATE;
    return rights;
}

static void grant_all(const struct confinement *to, const struct order *order)
{
    if (to->handled & READING) grant_readable(to);
    for (char **path = order->writable; *path; path++) grant(to, *path, READING | WRITING, 0);
    /* Devices guard themselves; without /dev/shm there are no semaphores, so no Python pools. */
    grant(to, "/dev", WRITE_FILE | TRUNCATE, 0);
    grant(to, "/dev/shm", WRITE_FILE | TRUNCATE | MAKE_REG | REMOVE_FILE, 0);
    /* Its own output may lie in what is hidden; /dev/stdout opens it anew. */
    grant_fd(to, STDOUT_FILENO, false, WRITE_FILE | TRUNCATE);
    grant_fd(to, STDERR_FILENO, false, WRITE_FILE | TRUNCATE);
}

bool confine(const struct order *order, struct result *result)
{
    if (order->writable[0] == NULL && order->hidden[0] == NULL) return true;
    long version = syscall(CREATE_RULESET, NULL, 0, WANT_VERSION);
    if (version < 1 && order->isolation == ISOLATION_NOT_ASKED) return true;

    struct confinement confinement = { .handled = version < 1 ? 0 : rights_of(version) };
    if (order->writable[0] == NULL) confinement.handled &= ~WRITING;
    if (order->hidden[0] == NULL) confinement.handled &= ~READING;
    /* Compared again: what the job is kept from must be what its own order says. */
    if (!is_prepared(order->hidden)) {
        confinement.hidden = real_paths(order->hidden, result);
        if (confinement.hidden == NULL) return false;
    }

    struct ruleset ruleset = { .files = confinement.handled, .scopes = version < 6 ? 0 : SCOPES };
    confinement.fd = (int)syscall(CREATE_RULESET, &ruleset, sizeof ruleset, 0);
    if (confinement.fd >= 0) grant_all(&confinement, order);
    bool confined = confinement.fd >= 0 && syscall(RESTRICT_SELF, confinement.fd, 0) == 0 &&
                    (version >= 3 || order->writable[0] == NULL || close_cutting());
    int error = errno;
    if (confinement.fd >= 0) close(confinement.fd);
    /* The memory is the supervisor's, who has other jobs after this one. */
    free_paths(confinement.hidden);
    if (confined) return true;
    errno = error;
    set_error(result, "the job's files", order->directory, "confined by Landlock", errno);
    return false;
}
