#include "cgroup.h"

#include "device.h"
#include "places.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PREFIX "labhand-"
#define OWN_LEAF "labhand-self"
/* Microseconds over which the kernel shares out the processor. */
enum { PERIOD = 100000, LEAST_QUOTA = 1000 };

static struct places places;
/* The launcher's own folder in each base; NULL: not made. */
static char *folders[CONTROLLERS];
static bool prepared;
/* The job's group in each folder; NULL: it has none there. */
static char *group[CONTROLLERS];
static int joins[CONTROLLERS], join_count;

static void nap(void)
{
    nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
}

static char *path_in(const char *folder, const char *name)
{
    char path[PATH_MAX];
    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path ? strdup(path) : NULL;
}

/* Version 2 has one group for all. */
static void share_first(char *in[CONTROLLERS])
{
    for (enum controller c = 1; c < CONTROLLERS; c++) in[c] = strdup(in[0]);
}

static long long number_in(const char *folder, const char *file, const char *name)
{
    char text[4096];
    if (folder == NULL || !read_text(folder, file, text, sizeof text)) return -1;
    char *at = text;
    if (*name) {
        while (at && (strncmp(at, name, strlen(name)) != 0 || at[strlen(name)] != ' ')) {
            at = strchr(at, '\n');
            if (at) at++;
        }
        if (at == NULL) return -1;
        at += strlen(name);
    }
    char *end;
    long long number = strtoll(at, &end, 10);
    return end == at ? -1 : number;
}

static void kill_members(const char *folder)
{
    char text[4096];
    if (!read_text(folder, "cgroup.procs", text, sizeof text)) return;
    for (char *at = text, *end; *at; at = *end ? end + 1 : end) {
        long pid = strtol(at, &end, 10);
        if (end == at) return;
        if (pid > 0) kill((pid_t)pid, SIGKILL);
    }
}

static void kill_all_in(const char *folder)
{
    if (write_text(folder, "cgroup.kill", "1")) return;
    bool frozen = write_text(folder, "freezer.state", "FROZEN");
    kill_members(folder);
    if (frozen) write_text(folder, "freezer.state", "THAWED");
}

/* The dead leave a group a moment after they were waited for. */
static void remove_empty(const char *folder)
{
    for (int tries = 0; rmdir(folder) != 0 && errno == EBUSY && tries < 500; tries++) {
        kill_all_in(folder);
        nap();
    }
}

static void remove_with_groups(const char *folder)
{
    struct dirent *entry;
    DIR *list = opendir(folder);
    while (list && (entry = readdir(list))) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
        char *path = path_in(folder, entry->d_name);
        if (path) remove_empty(path);
        free(path);
    }
    if (list) closedir(list);
    remove_empty(folder);
}

/* Whoever holds the lock lives: a launcher, or the supervisor of its job. */
static int lock(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
    if (fd >= 0) close(fd);
    return -1;
}

static void sweep(const char *base)
{
    struct dirent *entry;
    DIR *list = opendir(base);
    while (list && (entry = readdir(list))) {
        if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)) != 0 || strcmp(entry->d_name, OWN_LEAF) == 0) continue;
        char *path = path_in(base, entry->d_name);
        int held = path ? lock(path) : -1;
        if (held >= 0) {
            remove_with_groups(path);
            close(held);
        }
        free(path);
    }
    if (list) closedir(list);
}

void find_groups(const char *prepared_folder)
{
    find_places(&places, prepared_folder);
    for (enum controller c = 0; c < CONTROLLERS; c++)
        if (places.base[c] && !is_repeated(places.base, c)) sweep(places.base[c]);
}

void leave_groups(void)
{
    for (enum controller c = 0; c < CONTROLLERS; c++)
        if (folders[c] && !is_repeated(folders, c)) remove_with_groups(folders[c]);
}

static pid_t parent_of(pid_t pid)
{
    char folder[32], text[4096];
    snprintf(folder, sizeof folder, "/proc/%d", pid);
    char *after = read_text(folder, "stat", text, sizeof text) ? strrchr(text, ')') : NULL;
    int parent = 0;
    if (after) sscanf(after, ") %*c %d", &parent);
    return parent;
}

static bool descends(pid_t pid, pid_t ancestor)
{
    while (pid > 1 && pid != ancestor) pid = parent_of(pid);
    return pid == ancestor;
}

/* Whether all of a group belongs together with us: the worker, what started it and what it started; or a container. */
static bool is_ours(const char *members)
{
    pid_t worker = getppid();
    if (has_word(members, "1")) return true;
    for (const char *at = members; *at; at += strspn(at, "\n")) {
        pid_t pid = (pid_t)strtol(at, NULL, 10);
        if (pid == 0 || (!descends(pid, worker) && !descends(worker, pid))) return false;
        at += strcspn(at, "\n");
    }
    return true;
}

/*
 * With version 2 a group has either processes or groups that limit: what is in the base goes to a leaf beside the jobs'.
 * Only what belongs to us is moved; 0 or the error.
 */
static int empty_base(const char *base)
{
    char members[4096];
    char *leaf = path_in(base, OWN_LEAF);
    int error = 0;
    for (int tries = 0; tries < 100 && error == 0; tries++) {
        if (!read_text(base, "cgroup.procs", members, sizeof members)) error = errno;
        else if (*members == '\0') break;
        else if (!is_ours(members)) error = EBUSY;
        else if (mkdir(leaf, 0755) != 0 && errno != EEXIST) error = errno;
        for (char *at = members; error == 0 && *at; at += strspn(at, "\n")) {
            char pid[32];
            size_t length = strcspn(at, "\n");
            snprintf(pid, sizeof pid, "%.*s", (int)length, at);
            /* Gone meanwhile, if it cannot be found. */
            if (!write_text(leaf, "cgroup.procs", pid) && errno != ESRCH) error = errno;
            at += length;
        }
    }
    free(leaf);
    return error;
}

/* Each by itself: what is missing here limits nothing, but the others do. */
static void enable(const char *folder)
{
    static const char *const controllers[] = { "+memory", "+pids", "+cpu", "+io" };
    for (size_t i = 0; i < sizeof controllers / sizeof *controllers; i++)
        write_text(folder, "cgroup.subtree_control", controllers[i]);
}

static bool enabled(const char *folder, const char *controller)
{
    char text[256];
    return read_text(folder, "cgroup.subtree_control", text, sizeof text) && has_word(text, controller);
}

/* The machine's first group may have both. */
static int prepare_version_2(const char *base)
{
    if (enabled(base, "memory") && enabled(base, "pids")) return 0;
    char *type = path_in(base, "cgroup.type");
    int error = type && access(type, F_OK) == 0 ? empty_base(base) : 0;
    free(type);
    if (error == 0) enable(base);
    return error;
}

static char *make_folder(const char *base)
{
    for (int nth = 0; nth < 100; nth++) {
        char name[64];
        snprintf(name, sizeof name, PREFIX "%d-%d", getpid(), nth);
        char *path = path_in(base, name);
        if (path == NULL) return NULL;
        if (mkdir(path, 0755) == 0) {
            struct stat status;
            /* Should another launcher take it for left behind before it is locked, the next one is tried. */
            if (lock(path) >= 0 && stat(path, &status) == 0) return path;
        } else if (errno != EEXIST) {
            places.error = errno;
            free(path);
            return NULL;
        }
        free(path);
    }
    return NULL;
}

static void prepare_folders(void)
{
    if (places.version == 2) {
        int error = prepare_version_2(places.base[0]);
        if (error) places.error = error;
        else folders[0] = make_folder(places.base[0]);
        if (folders[0] == NULL) return;
        enable(folders[0]);
        share_first(folders);
        static const char *const needed[] = { [MEMORY] = "memory", [CPU] = "cpu", [PROCESSES] = "pids", [IO] = "io" };
        for (enum controller c = 0; c <= IO; c++)
            if (needed[c] && !enabled(folders[0] ? folders[0] : folders[FREEZER], needed[c])) {
                free(folders[c]);
                folders[c] = NULL;
                places.error = EOPNOTSUPP;
            }
        return;
    }
    for (enum controller c = 0; c < CONTROLLERS; c++) {
        if (places.base[c] == NULL) continue;
        if (!is_repeated(places.base, c)) folders[c] = make_folder(places.base[c]);
        else
            for (enum controller same = 0; same < c; same++)
                if (folders[same] && places.base[same] && strcmp(places.base[same], places.base[c]) == 0)
                    folders[c] = strdup(folders[same]);
    }
}

static bool wants(const struct order *order, enum controller controller)
{
    bool all = order->isolation == ISOLATION_CGROUP;
    switch (controller) {
    case MEMORY: return all || order->memory;
    case CPU: return order->cpu > 0;
    case PROCESSES: return all || order->processes;
    case IO: return order->io_read || order->io_write;
    default: return all;
    }
}
