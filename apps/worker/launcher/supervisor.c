#include "supervisor.h"

#include "cgroup.h"
#include "child.h"
#include "disk.h"
#include "landlock.h"
#include "namespaces.h"
#include "result.h"
#include "signals.h"
#include "tree.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the kernel sends us when the launcher died. */
enum { LAUNCHER_DIED = SIGHUP };
/* What the thread that adds up its files sends. */
enum { DISK_FULL = SIGUSR2 };

#define NEVER 1e18
/* Seconds between two rounds of killing: the first few quickly, then slower should something hang in the kernel. */
#define FIRST_ROUND 0.001
#define LAST_ROUND 0.1
/* Seconds from one count of processes to the next: short jobs are not counted, long ones seldom. */
#define FIRST_COUNT 0.02
#define LAST_COUNT 2.0
/* Output is looked at this often: seconds, or a share of the idle time where that is less. */
#define IDLE_LOOK 1.0
#define IDLE_SHARE 0.1

struct run {
    const struct order *order;
    int line;
    struct result result;
    pid_t main;            /* or, with namespaces, the first process in them, which ends with the job */
    struct inside *inside; /* of the namespaces; NULL: none */
    bool main_ended;
    bool asked;     /* TERM was sent, or KILL is due */
    double kill_at; /* what is left then is killed */
    double wall_end;
    double round;
    bool launcher_died;

    bool pausing;     /* rounds of stopping go on */
    bool paused;      /* no process of the job runs */
    bool resume_due;  /* asked for while pausing */
    double paused_at; /* wall and idle time stand still from then on */
    double pause_round;

    double idle_since;
    double idle_look;
    long long output; /* bytes at the last look */

    double count_at; /* when the processes are counted next */
    double count_pause;
};

/* The time for which a job is paused is no time of its: what was due is due later by that much. */
static void stop_pausing(struct run *run)
{
    run->pausing = run->resume_due = false;
    if (!run->paused) return;
    double lasted = now() - run->paused_at;
    run->paused = false;
    run->result.paused_seconds += lasted;
    run->wall_end += lasted;
    run->idle_since += lasted;
}

/* Ends the tree of one that is running still; the first cause stays. */
static void ask(struct run *run, const char *cause, double grace)
{
    stop_pausing(run);
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
    freeze_group(false);
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
    stop_pausing(run);
    run->wall_end = run->idle_look = NEVER;
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

static bool is_over(const struct run *run)
{
    return run->asked || run->main_ended;
}

static void resume(struct run *run)
{
    if (run->pausing) {
        run->resume_due = true;
        return;
    }
    if (run->paused && !freeze_group(false)) signal_descendants(SIGCONT);
    stop_pausing(run);
    report_state("resumed", run->order->id);
}

/* Stops what runs; paused is only what was found stopped to the last process. */
static void stop_more(struct run *run)
{
    if (!run->pausing) return;
    if (!freeze_group(true) && !stop_descendants()) {
        run->pause_round = run->pause_round * 2 < LAST_ROUND ? run->pause_round * 2 : LAST_ROUND;
        return;
    }
    forget_prepared();
    run->pausing = false;
    run->paused = true;
    run->paused_at = now();
    report_state("paused", run->order->id);
    if (run->resume_due) resume(run);
}

static void pause_job(struct run *run)
{
    if (run->paused) {
        report_state("paused", run->order->id);
    } else if (!run->pausing) {
        run->pausing = true;
        run->pause_round = FIRST_ROUND / 2;
        stop_more(run);
    }
}

static void pass_signal(const struct run *run, int number, bool to_group)
{
    if (run->inside) signal_inside(run->main, number, to_group);
    else kill(to_group ? -run->main : run->main, number);
}

/* An order's fields after its verb, each behind its name, or NULL. What follows the last one is "". */
static const char *field_at(const char *field, const char *name)
{
    size_t length = strlen(name);
    return strncmp(field, name, length) == 0 && field[length] == '=' ? field + length + 1 : NULL;
}

static void signal_job(const struct run *run, const char *fields)
{
    const char *name = field_at(fields, "name"), *target = field_at(fields + strlen(fields) + 1, "target");
    int number = name ? signal_number(name) : 0;
    if (number == 0 || target == NULL) dprintf(STDERR_FILENO, "the signal %.100s is not known\n", name ? name : "");
    else pass_signal(run, number, strcmp(target, "group") == 0);
}

/* What is said of a job that is over means nothing, nor does more than ending to one that is ending. */
static void obey(struct run *run, const char *order)
{
    const char *fields = order + strlen(order) + 1, *id = field_at(fields, "id");
    if (id == NULL || strcmp(id, run->order->id) != 0) return;
    if (strcmp(order, "end") == 0) terminate(run, "ended");
    else if (strcmp(order, "kill") == 0) ask(run, "ended", 0);
    else if (is_over(run)) return;
    else if (strcmp(order, "pause") == 0) pause_job(run);
    else if (strcmp(order, "resume") == 0) resume(run);
    else if (strcmp(order, "signal") == 0) signal_job(run, fields + strlen(fields) + 1);
}

static void obey_line(struct run *run)
{
    /* Zeros behind what came in: fields that are not there are empty. */
    static char order[LONGEST_ON_LINE + 4];
    ssize_t size;
    while ((size = recv(run->line, order, LONGEST_ON_LINE, MSG_DONTWAIT)) > 0) {
        memset(order + size, 0, 4);
        obey(run, order);
    }
}

static void heed(struct run *run, int signal)
{
    switch (signal) {
    case LOOK_AT_LINE:
        obey_line(run);
        break;
    case LAUNCHER_DIED:
        run->launcher_died = true;
        ask(run, "ended", 0);
        break;
    case DISK_FULL:
        if (disk_is_full()) terminate(run, "disk");
        break;
    default: /* SIGCHLD wakes us, nothing else is for us */
        break;
    }
}

static long long output_of(const struct order *order)
{
    struct stat out, err;
    return (stat(order->out, &out) == 0 ? out.st_size : 0) + (stat(order->err, &err) == 0 ? err.st_size : 0);
}

static void look_at_output(struct run *run)
{
    double time = now(), most = run->order->idle_time;
    long long output = output_of(run->order);
    if (output != run->output) {
        run->output = output;
        run->idle_since = time;
    }
    if (time >= run->idle_since + most) {
        run->idle_look = NEVER;
        terminate(run, "idle");
        return;
    }
    double pause = most * IDLE_SHARE < IDLE_LOOK ? most * IDLE_SHARE : IDLE_LOOK;
    double end = run->idle_since + most;
    run->idle_look = time + pause < end ? time + pause : end;
}

static void count_processes(struct run *run)
{
    /* It may run for long: the next one is far away. */
    forget_prepared();
    /* Of a namespace's, the first is not the job's. */
    long count = count_descendants() - (run->inside != NULL);
    if (count > run->result.max_processes) run->result.max_processes = count;
    if (run->count_pause < LAST_COUNT) run->count_pause *= 2;
    run->count_at = now() + run->count_pause;
}

static double earlier(double one, double other)
{
    return one < other ? one : other;
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
    if (now() >= run->kill_at) {
        double round = run->round;
        run->round = earlier(round * 2, LAST_ROUND);
        return now() + round;
    }
    if (run->paused) return run->kill_at;
    double next = earlier(run->kill_at, run->count_at);
    if (run->pausing) next = earlier(next, now() + run->pause_round);
    return earlier(next, earlier(run->wall_end, run->idle_look));
}

static void do_what_is_due(struct run *run)
{
    double time = now();
    stop_more(run);
    if (run->paused) return;
    if (time >= run->count_at && time < run->kill_at) count_processes(run);
    if (time >= run->idle_look) look_at_output(run);
    if (time < run->wall_end) return;
    run->wall_end = NEVER;
    terminate(run, "timeout");
}

static void watch(struct run *run)
{
    while (reap(run)) {
        if (now() >= run->kill_at) {
            kill_group();
            kill_children();
        }
        heed(run, wait_until(next_time(run)));
        do_what_is_due(run);
    }
}

/* Of a job that was just started. */
static void begin_watches(struct run *run)
{
    const struct order *order = run->order;
    double start = run->result.started_at;
    if (order->wall_time > 0) run->wall_end = start + order->wall_time;
    if (order->idle_time > 0) {
        run->output = output_of(order);
        run->idle_since = run->idle_look = start;
    }
    run->count_pause = FIRST_COUNT;
    run->count_at = start + FIRST_COUNT;
}

static pid_t start_job(struct run *run)
{
    const struct order *order = run->order;
    if (order->disk > 0 && !watch_disk(order, DISK_FULL)) {
        set_error(&run->result, "the files of", order->id, "watched", errno);
        return -1;
    }
    if (order->isolation < ISOLATION_NAMESPACES) return start_child(order, &run->result);
    return start_in_namespaces(order, &run->inside, &run->result);
}

/* Groups that we made, and the thread that adds up files, last as long as we do. */
bool needs_own_supervisor(const struct order *order)
{
    return wants_group(order) || order->disk > 0 || order->isolation >= ISOLATION_NAMESPACES;
}

/* False: there is no other job after it. */
static bool run_job(const struct order *order, const struct post *post)
{
    pid_t self = getpid();
    struct run run = { .order = order, .line = post->line, .kill_at = NEVER, .wall_end = NEVER, .round = FIRST_ROUND };
    run.idle_look = run.count_at = NEVER;

    begin_result(&run.result);
    run.main = make_group(order, &run.result) ? start_job(&run) : -1;
    if (run.main > 0) {
        begin_watches(&run);
        watch(&run);
    }
    measure_group(&run.result);
    remove_group();
    /* The worker counts a job of a dead launcher as lost with it; the record tells the rest. */
    report_ended(order->id, order->record, &run.result, !run.launcher_died);
    if (run.launcher_died || needs_own_supervisor(order)) return false;
    /* Not before: who is killed between the two leaves a job that the launcher knows of and reports. */
    return write(post->free, &self, sizeof self) == sizeof self;
}

/* Zero: there will be no more. */
static ssize_t next_order(char *frame, int line)
{
    ssize_t size = recv(line, frame, LONGEST_ON_LINE, 0);
    if (size >= 0 || errno != EAGAIN) return size;
    forget_prepared();
    poll(&(struct pollfd){ .fd = line, .events = POLLIN }, 1, -1);
    return recv(line, frame, LONGEST_ON_LINE, 0);
}

/* False: there will be none. What is left on the line of the job before is passed over. */
static bool next_start(char *frame, int line, struct order *order)
{
    static const char verb[] = "start";
    ssize_t size;
    while ((size = next_order(frame, line)) > 0)
        if (strcmp(frame, verb) == 0) return read_order(order, frame + sizeof verb, (size_t)size - sizeof verb);
    return false;
}

_Noreturn void supervise(const struct order *first, const struct post *post)
{
    static char frame[LONGEST_ON_LINE];
    struct order order;

    prctl(PR_SET_PDEATHSIG, LAUNCHER_DIED);
    /* It may have died before we asked to be told. */
    if (getppid() != post->launcher) _exit(0);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    setsockopt(post->line, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ .tv_sec = KEPT }, sizeof(struct timeval));

    bool again = run_job(first, post);
    while (again && next_start(frame, post->line, &order)) {
        prepare_reading(&order);
        again = run_job(&order, post);
        free_order(&order);
    }
    _exit(0);
}
