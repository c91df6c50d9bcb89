#include "supervisor.h"

#include "child.h"
#include "namespaces.h"
#include "result.h"
#include "tree.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the kernel sends us when the launcher died. */
enum { LAUNCHER_DIED = SIGHUP };

#define NEVER 1e18
/* Seconds between two rounds of killing: the first few quickly, then slower should something hang in the kernel. */
#define FIRST_ROUND 0.001
#define LAST_ROUND 0.1

struct run {
    const struct order *order;
    struct result result;
    pid_t main;            /* or, with namespaces, the first process in them, which ends with the job */
    struct inside *inside; /* of the namespaces; NULL: none */
    bool main_ended;
    bool asked;     /* TERM was sent, or KILL is due */
    double kill_at; /* what is left then is killed */
    double wall_end;
    double round;
    bool launcher_died;
};

/* Ends the tree of one that is running still; the first cause stays. */
static void ask(struct run *run, const char *cause, double grace)
{
    if (!run->asked && !run->main_ended) run->result.cause = cause;
    run->asked = true;
    if (run->inside) run->inside->asked = true;
    if (now() + grace < run->kill_at) run->kill_at = now() + grace;
}

static void terminate(struct run *run, const char *cause)
{
    if (run->asked) return;
    ask(run, cause, run->order->kill_grace);
    signal_descendants(SIGTERM);
    /* A stopped process takes its TERM only when it goes on. */
    signal_descendants(SIGCONT);
}

static void note_death(struct run *run, pid_t pid, int status, const struct rusage *usage)
{
    add_usage(&run->result, usage);
    if (pid != run->main) return;
    run->main_ended = true;
    if (run->inside && run->inside->result.error[0]) {
        take_error(&run->result, &run->inside->result);
        return;
    }
    run->result.ran = true;
    run->result.status = run->inside && run->inside->ran ? run->inside->status : status;
    run->wall_end = NEVER;
    /* A job that ended by itself leaves nothing; one that was asked to end has its grace time to the last process. */
    if (!run->asked) run->kill_at = 0;
}

/* Main's group in one stroke, while main, dead but not waited for, still keeps its number from being used again. */
static void kill_group_left_by_main(const struct run *run)
{
    siginfo_t dead = { 0 };
    if (run->asked || run->main_ended) return;
    if (waitid(P_PID, (id_t)run->main, &dead, WEXITED | WNOHANG | WNOWAIT) == 0 && dead.si_pid == run->main)
        kill(-run->main, SIGKILL);
}

/* Waits for all that died. False: nothing is left, since whatever a job forks becomes our child at the latest when
 * its own parent dies (we are its subreaper). */
static bool reap(struct run *run)
{
    int status;
    struct rusage usage;
    pid_t pid;
    kill_group_left_by_main(run);
    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
        note_death(run, pid, status, &usage);
        run->round = FIRST_ROUND;
    }
    return pid == 0;
}

/* A signal, or 0 at the time. */
static int wait_until(double time)
{
    sigset_t all;
    sigfillset(&all);
    double seconds = time - now();
    if (seconds < 0) seconds = 0;
    if (seconds > 1e8) seconds = 1e8;
    struct timespec timeout = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };
    int signal = sigtimedwait(&all, NULL, &timeout);
    return signal < 0 ? 0 : signal;
}

static double next_time(struct run *run)
{
    if (now() < run->kill_at) return run->kill_at < run->wall_end ? run->kill_at : run->wall_end;
    double round = run->round;
    run->round = round * 2 < LAST_ROUND ? round * 2 : LAST_ROUND;
    return now() + round;
}

static void obey(struct run *run, int signal)
{
    switch (signal) {
    case END_JOB:
        terminate(run, "ended");
        break;
    case LAUNCHER_DIED:
        run->launcher_died = true;
        ask(run, "ended", 0);
        break;
    case KILL_JOB:
        ask(run, "ended", 0);
        break;
    default: /* SIGCHLD wakes us, nothing else is for us */
        break;
    }
}

static void watch(struct run *run)
{
    while (reap(run)) {
        if (now() >= run->kill_at) kill_children();
        obey(run, wait_until(next_time(run)));
        if (now() >= run->wall_end) {
            run->wall_end = NEVER;
            terminate(run, "timeout");
        }
    }
}

_Noreturn void supervise(const struct order *order, pid_t launcher)
{
    struct run run = { .order = order, .kill_at = NEVER, .wall_end = NEVER, .round = FIRST_ROUND };

    prctl(PR_SET_PDEATHSIG, LAUNCHER_DIED);
    /* It may have died before we asked to be told. */
    if (getppid() != launcher) _exit(0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);

    begin_result(&run.result);
    if (order->isolation < ISOLATION_NAMESPACES) run.main = start_child(order, &run.result);
    else run.main = start_in_namespaces(order, &run.inside, &run.result);
    if (run.main > 0) {
        if (order->wall_time > 0) run.wall_end = run.result.started_at + order->wall_time;
        watch(&run);
    }
    /* The worker counts a job of a dead launcher as lost with it; the record tells the rest. */
    report_ended(order->id, order->record, &run.result, !run.launcher_died);
    _exit(0);
}
