#include "folders.h"

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
/* Where version 2 puts the processes of a group that is to have groups in it. */
#define OWN_LEAF "labhand-self"

static struct places places;
static char *folders[CONTROLLERS];
static bool prepared;

static void nap(void)
{
    nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
}

char *path_in(const char *folder, const char *name)
{
    char path[PATH_MAX];
    return snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path ? strdup(path) : NULL;
}

/* As many as there is room for, of which the last must not be half a number. */
static bool read_members(const char *group, char *text, size_t size)
{
    if (!read_text(group, "cgroup.procs", text, size)) return false;
    char *end = strrchr(text, '\n');
    text[end ? end + 1 - text : 0] = '\0';
    return true;
}

static void kill_members(const char *folder)
{
    char text[4096];
    if (!read_members(folder, text, sizeof text)) return;
    for (char *at = text, *end; *at; at = *end ? end + 1 : end) {
        long pid = strtol(at, &end, 10);
        if (end == at) return;
        if (pid > 0) kill((pid_t)pid, SIGKILL);
    }
}

void kill_all_in(const char *folder)
{
    if (write_text(folder, "cgroup.kill", "1")) return;
    bool frozen = write_text(folder, "freezer.state", "FROZEN");
    kill_members(folder);
    if (frozen) write_text(folder, "freezer.state", "THAWED");
}

/* The dead leave a group a moment after they were waited for. */
void remove_empty(const char *folder)
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

/* To the leaf beside the jobs'. 0 or the error; what ended meanwhile needs not be moved. */
static int move(char *members, const char *leaf)
{
    if (mkdir(leaf, 0755) != 0 && errno != EEXIST) return errno;
    for (char *pid = strtok(members, "\n"); pid; pid = strtok(NULL, "\n"))
        if (!write_text(leaf, "cgroup.procs", pid) && errno != ESRCH) return errno;
    return 0;
}

/* Memory and processes, which there are groups for in the first place, as far as they are given to us. */
static bool is_enabled(const char *folder)
{
    char given[256], enabled[256];
    if (!read_text(folder, "cgroup.controllers", given, sizeof given) ||
        !read_text(folder, "cgroup.subtree_control", enabled, sizeof enabled))
        return false;
    return (!has_word(given, "memory") || has_word(enabled, "memory")) &&
           (!has_word(given, "pids") || has_word(enabled, "pids"));
}

/* Each by itself: what is missing here limits nothing, but the others do. */
static bool enable(const char *folder)
{
    static const char *const controllers[] = { "+memory", "+pids", "+cpu", "+io" };
    for (size_t i = 0; i < sizeof controllers / sizeof *controllers; i++)
        write_text(folder, "cgroup.subtree_control", controllers[i]);
    return is_enabled(folder);
}

/*
 * With version 2 a group has either processes or groups that limit, but for the machine's first: what is in the base is
 * moved away if all of it belongs to us. Only then is anything enabled: some of it could be before, and would make a
 * group of threads of it, for good. Jobs come and go meanwhile, so it is tried again. 0 or the error.
 */
static int open_base(const char *base)
{
    char members[4096];
    char *leaf = path_in(base, OWN_LEAF), *type = path_in(base, "cgroup.type");
    bool done = is_enabled(base), may_have_both = type && access(type, F_OK) != 0;
    int error = leaf && type ? 0 : ENOMEM;
    for (int tries = 0; !done && (error == 0 || error == EBUSY) && tries < 20; tries++) {
        if (tries > 0) nap();
        if (!read_members(base, members, sizeof members)) error = errno;
        else if (*members == '\0' || may_have_both) done = enable(base);
        else error = is_ours(members) ? move(members, leaf) : EBUSY;
    }
    free(leaf);
    free(type);
    if (done) return 0;
    return error ? error : EBUSY;
}

/* Where groups can be made, that may still not be where our processes may go. 0 or the error. */
static int try_to_join(const char *folder)
{
    int status = 0;
    char *group = path_in(folder, "try");
    if (group == NULL || mkdir(group, 0755) != 0) return errno;
    pid_t pid = fork();
    if (pid == 0) _exit(write_text(group, "cgroup.procs", "0") ? 0 : errno);
    if (pid < 0 || waitpid(pid, &status, 0) != pid) status = errno << 8;
    remove_empty(group);
    free(group);
    return WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
}

/* Should another launcher take it for left behind before it is locked, the next name is tried. */
static char *make_folder(const char *base)
{
    places.error = EBUSY;
    for (int nth = 0; nth < 100; nth++) {
        char name[64];
        struct stat status;
        snprintf(name, sizeof name, PREFIX "%d-%d", getpid(), nth);
        char *path = path_in(base, name);
        bool made = path && mkdir(path, 0755) == 0;
        if (!made) places.error = errno;
        else if (lock(path) >= 0 && stat(path, &status) == 0) {
            places.error = try_to_join(path);
            if (places.error == 0) return path;
            remove_empty(path);
            made = false;
        }
        free(path);
        if (!made && places.error != EEXIST) return NULL;
    }
    return NULL;
}

static void prepare_version_2(void)
{
    static const char *const needed[CONTROLLERS] = {
        [MEMORY] = "memory", [CPU] = "cpu", [PROCESSES] = "pids", [IO] = "io",
    };
    char enabled[256];
    int error = open_base(places.base[0]);
    if (error) places.error = error;
    char *folder = error ? NULL : make_folder(places.base[0]);
    if (folder == NULL) return;
    enable(folder);
    if (!read_text(folder, "cgroup.subtree_control", enabled, sizeof enabled)) *enabled = '\0';
    for (enum controller c = 0; c < CONTROLLERS; c++)
        if (needed[c] == NULL || has_word(enabled, needed[c])) folders[c] = strdup(folder);
    places.error = EOPNOTSUPP;
    free(folder);
}

static void prepare_version_1(void)
{
    for (enum controller c = 0; c < CONTROLLERS; c++) {
        if (places.base[c] == NULL) continue;
        enum controller same = 0;
        while (same < c && (places.base[same] == NULL || strcmp(places.base[same], places.base[c]) != 0)) same++;
        if (same == c) folders[c] = make_folder(places.base[c]);
        else if (folders[same]) folders[c] = strdup(folders[same]);
    }
}

void find_folders(const char *given)
{
    find_places(&places, given);
    /* The freezer comes last there, and first here: what is frozen does not die of its kill. */
    for (enum controller c = CONTROLLERS; c-- > 0;)
        if (places.base[c] && !is_repeated(places.base, c)) sweep(places.base[c]);
}

void prepare_folders(void)
{
    if (prepared) return;
    prepared = true;
    if (places.version == 2) prepare_version_2();
    else prepare_version_1();
}

void remove_folders(void)
{
    for (enum controller c = 0; c < CONTROLLERS; c++)
        if (folders[c] && !is_repeated(folders, c)) remove_with_groups(folders[c]);
}

const char *folder_for(enum controller controller)
{
    return folders[controller];
}

int folders_version(void)
{
    return places.version;
}

int why_no_folder(void)
{
    return places.error;
}
