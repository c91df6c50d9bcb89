#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool each_child_of_thread(pid_t pid, pid_t thread, void (*visit)(pid_t, void *), void *context)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;

    pid_t child = 0;
    ssize_t length;
    while ((length = read(fd, text, sizeof text)) > 0)
        for (ssize_t i = 0; i < length; i++) {
            if (text[i] >= '0' && text[i] <= '9') {
                child = child * 10 + (text[i] - '0');
                continue;
            }
            if (child > 0) visit(child, context);
            child = 0;
        }
    close(fd);
    return length == 0;
}

bool each_child(pid_t parent, void (*visit)(pid_t, void *), void *context)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", parent);
    DIR *threads = opendir(path);
    if (threads == NULL) return false;

    bool told = false;
    struct dirent *entry;
    while ((entry = readdir(threads))) {
        pid_t thread = atoi(entry->d_name);
        if (thread > 0) told |= each_child_of_thread(parent, thread, visit, context);
    }
    closedir(threads);
    return told;
}

/* Found by going through the list while it grows: however deep a job nests, no recursion follows it. */
struct list {
    pid_t *pids;
    size_t count, room;
};

static void append(pid_t pid, void *context)
{
    struct list *list = context;
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        pid_t *pids = realloc(list->pids, room * sizeof *pids);
        if (pids == NULL) return;
        list->pids = pids;
        list->room = room;
    }
    list->pids[list->count++] = pid;
}

static struct list descendants(void)
{
    struct list list = { 0 };
    each_child(getpid(), append, &list);
    for (size_t i = 0; i < list.count; i++) each_child(list.pids[i], append, &list);
    return list;
}

void signal_descendants(int signal)
{
    struct list list = descendants();
    for (size_t i = 0; i < list.count; i++) kill(list.pids[i], signal);
    free(list.pids);
}

/* The letter of its state, or 0 where it is gone. */
static char state_of(pid_t pid)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) return 0;
    text[length] = '\0';
    /* The name before it may hold anything, so the last bracket counts. */
    const char *name_end = strrchr(text, ')');
    return name_end && name_end[1] == ' ' ? name_end[2] : 0;
}

bool stop_descendants(void)
{
    struct list list = descendants();
    bool all_stopped = true;
    for (size_t i = 0; i < list.count; i++) {
        char state = state_of(list.pids[i]);
        if (state == 'T' || state == 't') continue;
        /* To the dead too: threads may live on behind a dead first one. */
        kill(list.pids[i], SIGSTOP);
        /*
         * One deep in the kernel (D) stops before it does anything else: it may wait there for a child of vfork that is
         * stopped. One that just went may have left children where we had looked already.
         */
        if (state != 'Z' && state != 'D') all_stopped = false;
    }
    free(list.pids);
    return all_stopped;
}

long count_descendants(void)
{
    struct list list = descendants();
    free(list.pids);
    return (long)list.count;
}

/*
 * Only children, never deeper: until we wait for it, a child's number cannot come to mean somebody else. What it leaves
 * behind becomes our child the moment it dies, and is met by the next round.
 */
static void kill_one(pid_t pid, void *context)
{
    (void)context;
    kill(-pid, SIGKILL);
    kill(pid, SIGKILL);
}

void kill_children(void)
{
    each_child(getpid(), kill_one, NULL);
}
