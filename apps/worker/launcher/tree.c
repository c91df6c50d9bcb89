#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A job may nest deeper; what lies below is reached when it is killed, never by recursion without end. */
enum { DEPTH = 100 };

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

struct visit {
    int signal;
    int depth;
};

static void signal_one(pid_t pid, void *context)
{
    struct visit *visit = context;
    kill(pid, visit->signal);
    if (visit->depth >= DEPTH) return;
    struct visit below = { visit->signal, visit->depth + 1 };
    each_child(pid, signal_one, &below);
}

void signal_descendants(int signal)
{
    struct visit visit = { signal, 0 };
    each_child(getpid(), signal_one, &visit);
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
