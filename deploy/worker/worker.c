/*
 * /opt/labhand/worker: starts the worker beside it, and is the first process of its container, which has duties. The
 * kernel keeps signals from a first process that does not handle them yet, so a stop during the start of Node would be
 * lost; and it leaves orphans to it, to be collected. Besides, it hides itself: see hide-process.c.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t start(char **arguments, const sigset_t *mask)
{
    pid_t child = fork();
    if (child != 0) return child;
    /* A group of its own: Ctrl-C in a terminal would reach it twice, from there and from us. */
    setpgid(0, 0);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execv(arguments[0], arguments);
    perror(arguments[0]);
    _exit(127);
}

/* Collects whatever ended; the exit code of the worker once it is among that, else -1. */
static int collect(pid_t worker)
{
    int status, code = -1;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == worker) code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return code;
}

int main(int argc, char **argv)
{
    char *arguments[argc + 2];
    sigset_t all, usual;
    int code = -1;

    prctl(PR_SET_DUMPABLE, 0);
    arguments[0] = PREFIX "/node";
    arguments[1] = PREFIX "/worker.cjs";
    /* With the NULL at its end. */
    memcpy(arguments + 2, argv + 1, argc * sizeof *argv);

    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &usual);
    pid_t worker = start(arguments, &usual);
    if (worker < 0) {
        perror("fork");
        return 1;
    }
    while (code < 0) {
        int number = sigwaitinfo(&all, NULL);
        if (number == SIGCHLD) code = collect(worker);
        else if (number > 0) kill(worker, number);
    }
    return code;
}
