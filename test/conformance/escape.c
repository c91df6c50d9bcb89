/*
 * escape MODE TAG: a process that will not be ended. TAG stands among its arguments, so that what is left can be found.
 *   chain   each hop forks the next into a session of its own and dies at once
 *   daemon  forks twice, leaves the session, closes every descriptor, drops its environment
 *   brood   fifty processes, each in a session of its own, that ignore TERM
 *   stopped two processes that stop each other and themselves
 *   bomb    forks in every process as often as it can, each in a session of its own
 *   thread  a child had by another thread than the first, which ignores TERM
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void rest(void)
{
    for (;;) pause();
}

static void chain(void)
{
    /* Bounded, so that a launcher that fails the test leaves nothing behind for good. */
    time_t end = time(NULL) + 30;
    while (time(NULL) < end) {
        if (fork() != 0) {
            struct timespec moment = { 0, 100000 };
            nanosleep(&moment, NULL);
            _exit(0);
        }
        setsid();
    }
}

static void daemon_away(void)
{
    if (fork() != 0) _exit(0);
    setsid();
    if (fork() != 0) _exit(0);
    for (int fd = 0; fd < 64; fd++) close(fd);
    alarm(30);
    rest();
}

static void brood(void)
{
    for (int i = 0; i < 50; i++)
        if (fork() == 0) {
            setsid();
            alarm(30);
            rest();
        }
}

static void stop(void)
{
    if (fork() == 0) setsid();
    alarm(30);
    for (;;) raise(SIGSTOP);
}

static void bomb(void)
{
    time_t end = time(NULL) + 30;
    while (time(NULL) < end)
        if (fork() == 0) setsid();
}

static void *have_child(void *unused)
{
    if (fork() == 0) {
        alarm(30);
        rest();
    }
    rest();
    return unused;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    const char *mode = argc > 1 ? argv[1] : "";
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    if (strcmp(mode, "chain") == 0) chain();
    else if (strcmp(mode, "daemon") == 0) daemon_away();
    else if (strcmp(mode, "brood") == 0) brood();
    else if (strcmp(mode, "stopped") == 0) stop();
    else if (strcmp(mode, "bomb") == 0) bomb();
    else if (strcmp(mode, "thread") == 0) pthread_create(&thread, NULL, have_child, NULL);
    else return 2;
    puts("ready");
    fflush(stdout);
    alarm(30);
    rest();
}
