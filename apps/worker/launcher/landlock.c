#include "landlock.h"

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
#define TRUNCATE (1ull << 14) /* from the third */

#define READING (EXECUTE | READ_FILE | READ_DIR)
#define MAKING_AND_REMOVING 0x1ff0ull
#define WRITING (WRITE_FILE | MAKING_AND_REMOVING | REFER | TRUNCATE)
/* All that can be granted of a file that is no folder. */
#define OF_FILES (EXECUTE | READ_FILE | WRITE_FILE | TRUNCATE)

/* From the sixth version on: no abstract socket and no signal to whoever is not of the job. */
#define SCOPES 3ull

struct ruleset {
    uint64_t files, network, scopes;
};

struct __attribute__((packed)) rule {
    uint64_t granted;
    int32_t fd;
};

struct confinement {
    int fd;
    uint64_t handled;
    char **hidden; /* real paths, NULL-terminated */
};

static void grant_fd(const struct confinement *to, int fd, uint64_t rights)
{
    struct stat status;
    rights &= to->handled;
    if (fstat(fd, &status) != 0) return;
    if (!S_ISDIR(status.st_mode)) rights &= OF_FILES;
    struct rule rule = { rights, fd };
    /* Where a right cannot be granted the job has to do without. */
    if (rights) syscall(ADD_RULE, to->fd, PATH_BENEATH, &rule, 0);
}

static void grant(const struct confinement *to, const char *path, uint64_t rights, int flags)
{
    int fd = open(path, O_PATH | O_CLOEXEC | flags);
    if (fd < 0) return;
    grant_fd(to, fd, rights);
    close(fd);
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

/* The hidden paths without links in them, or NULL with the reason in the result. */
static char **real_paths(char **paths, struct result *result)
{
    size_t count = 0;
    while (paths[count]) count++;
    char **real = calloc(count + 1, sizeof *real);
    for (size_t i = 0; real && i < count; i++)
        if ((real[i] = realpath(paths[i], NULL)) == NULL) {
            set_error(result, "the path", paths[i], "hidden", errno);
            return NULL;
        }
    return real;
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
    if (to->handled & READING) grant_reading(to, "/");
    for (char **path = order->writable; *path; path++) grant(to, *path, READING | WRITING, 0);
    /* Devices guard themselves; without /dev/shm there are no semaphores, so no Python pools. */
    grant(to, "/dev", WRITE_FILE | TRUNCATE, 0);
    grant(to, "/dev/shm", WRITE_FILE | TRUNCATE | MAKE_REG | REMOVE_FILE, 0);
    /* Its own output may lie in what is hidden; /dev/stdout opens it anew. */
    grant_fd(to, STDOUT_FILENO, WRITE_FILE | TRUNCATE);
    grant_fd(to, STDERR_FILENO, WRITE_FILE | TRUNCATE);
}

bool confine(const struct order *order, struct result *result)
{
    if (order->writable[0] == NULL && order->hidden[0] == NULL) return true;
    long version = syscall(CREATE_RULESET, NULL, 0, WANT_VERSION);
    if (version < 1 && order->isolation == ISOLATION_NOT_ASKED) return true;

    struct confinement confinement = { .handled = version < 1 ? 0 : rights_of(version) };
    if (order->writable[0] == NULL) confinement.handled &= ~WRITING;
    if (order->hidden[0] == NULL) confinement.handled &= ~READING;
    confinement.hidden = real_paths(order->hidden, result);
    if (confinement.hidden == NULL) return false;

    struct ruleset ruleset = { .files = confinement.handled, .scopes = version < 6 ? 0 : SCOPES };
    confinement.fd = (int)syscall(CREATE_RULESET, &ruleset, sizeof ruleset, 0);
    if (confinement.fd >= 0) grant_all(&confinement, order);
    if (confinement.fd >= 0 && syscall(RESTRICT_SELF, confinement.fd, 0) == 0) {
        close(confinement.fd);
        return true;
    }
    set_error(result, "the job's files", order->directory, "confined by Landlock", errno);
    return false;
}
