/*
 * The small process beside the worker that starts, watches, measures and ends jobs (docs/launcher-protocol.md).
 *
 * For each job it forks a supervisor, which costs little in a process of this size. The supervisor is the subreaper of
 * its job: every process that the job makes is its descendant for good, whatever it does to its session, group or
 * parents, so each tree has exactly one owner, which ends, measures and reports it. Orders come in here and go on as
 * signals; the supervisors answer the worker themselves.
 */
#include "cgroup.h"
#include "folders.h"
#include "landlock.h"
#include "order.h"
#include "probe.h"
#include "result.h"
#include "seccomp.h"
#include "signals.h"
#include "supervisor.h"
#include "tree.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST_ORDER = 16 << 20, USUAL_BUFFER = 64 << 10 };
/* Milliseconds without a job after which nothing is kept ready for the next. */
enum { IDLE = 5000 };

/* A job whose supervisor runs; or, when `lost`, was killed by somebody. */
struct job {
    struct job *next;
    pid_t supervisor;
    char *id;
    char *record;
    struct result result; /* for the report that a lost supervisor cannot make */
    bool lost;
};

static struct job *jobs;
static bool stopping;

static char *input;
static size_t input_size, input_used;

static void stop(void)
{
    stopping = true;
    for (struct job *job = jobs; job; job = job->next)
        if (!job->lost) kill(job->supervisor, END_JOB);
}

static void drop(struct job **link)
{
    struct job *job = *link;
    *link = job->next;
    free(job->id);
    free(job->record);
    free(job);
}

static void refuse(const struct order *order, const char *what, const char *name, const char *done, int error)
{
    struct result result;
    begin_result(&result);
    set_error(&result, what, name, done, error);
    report_ended(order->id, order->record, &result, true);
}

static void start_job(const struct order *order)
{
    struct job *job = calloc(1, sizeof *job);
    char *id = strdup(order->id), *record = strdup(order->record);
    pid_t launcher = getpid(), pid = -1;

    if (wants_group(order)) prepare_folders();
    if (job && id && record) {
        begin_result(&job->result);
        prepare_reading(order);
        pid = fork();
        if (pid == 0) supervise(order, launcher);
    }
    if (pid < 0) {
        refuse(order, "a process for", order->argv[0] ? order->argv[0] : "", "made", errno);
        free(job);
        free(id);
        free(record);
        return;
    }
    job->supervisor = pid;
    job->id = id;
    job->record = record;
    job->next = jobs;
    jobs = job;
}

static void start(char *fields, size_t size)
{
    struct order order;
    if (!read_order(&order, fields, size)) {
        dprintf(STDERR_FILENO, "no memory to read an order\n");
        return;
    }
    /* A field that we do not know may be a limit: without it the job must not run. */
    if (order.unknown) refuse(&order, "the field", order.unknown, "understood by this launcher", EINVAL);
    else if (strlen(order.record) + sizeof ".tmp" > PATH_MAX)
        refuse(&order, "the record", order.record, "written", ENAMETOOLONG);
    else start_job(&order);
    free_order(&order);
}

static void signal_job(const char *field, int signal)
{
    const char *id = strncmp(field, "id=", 3) == 0 ? field + 3 : "";
    for (struct job *job = jobs; job; job = job->next)
        if (!job->lost && strcmp(job->id, id) == 0) kill(job->supervisor, signal);
}

/* Signals of the same number keep their order and what they carry: each is one order to a supervisor. */
static void tell_job(const char *field, int message)
{
    const char *id = strncmp(field, "id=", 3) == 0 ? field + 3 : "";
    for (struct job *job = jobs; job; job = job->next)
        if (!job->lost && strcmp(job->id, id) == 0 &&
            sigqueue(job->supervisor, TELL_JOB, (union sigval){ .sival_int = message }) != 0)
            dprintf(STDERR_FILENO, "the supervisor of %.100s could not be told: %s\n", id, strerror(errno));
}

/* fields: id, name, target */
static void pass_signal(const char *fields, size_t size)
{
    const char *name = fields + strlen(fields) + 1;
    const char *target = name < fields + size ? name + strlen(name) + 1 : name;
    if (target >= fields + size || strncmp(name, "name=", 5) != 0) return;
    int number = signal_number(name + 5);
    if (number == 0) dprintf(STDERR_FILENO, "the signal %.100s is not known\n", name + 5);
    else tell_job(fields, number | (strcmp(target, "target=group") == 0 ? TO_GROUP : 0));
}

/* The order's last byte is NUL. */
static void obey(char *order, size_t size)
{
    size_t verb = strlen(order) + 1;
    char *fields = order + verb;
    if (strcmp(order, "start") == 0) start(fields, size - verb);
    else if (strcmp(order, "end") == 0 && size > verb) signal_job(fields, END_JOB);
    else if (strcmp(order, "kill") == 0 && size > verb) signal_job(fields, KILL_JOB);
    else if (strcmp(order, "pause") == 0 && size > verb) tell_job(fields, PAUSE_JOB);
    else if (strcmp(order, "resume") == 0 && size > verb) tell_job(fields, RESUME_JOB);
    else if (strcmp(order, "signal") == 0 && size > verb) pass_signal(fields, size - verb);
    else dprintf(STDERR_FILENO, "the order %.100s is not known\n", order);
}

static uint32_t length_at(const char *bytes)
{
    const unsigned char *b = (const unsigned char *)bytes;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static bool resize_input(size_t size)
{
    char *resized = realloc(input, size);
    if (resized == NULL) return false;
    input = resized;
    input_size = size;
    return true;
}

/* Obeys every whole order in the input. Returns how many bytes the next one needs, 0 where it is nonsense. */
static size_t obey_input(void)
{
    size_t at = 0, need = USUAL_BUFFER;
    while (input_used - at >= 4) {
        uint32_t length = length_at(input + at);
        if (length == 0 || length > LONGEST_ORDER) return 0;
        if (input_used - at < 4 + (size_t)length) {
            if (4 + (size_t)length > need) need = 4 + (size_t)length;
            break;
        }
        input[at + 4 + length - 1] = '\0';
        obey(input + at + 4, length);
        at += 4 + length;
    }
    memmove(input, input + at, input_used - at);
    input_used -= at;
    return need;
}

/* False: no more orders will come. */
static bool read_input(void)
{
    ssize_t got = read(STDIN_FILENO, input + input_used, input_size - input_used);
    if (got < 0 && errno == EINTR) return true;
    if (got <= 0) return false;
    input_used += (size_t)got;
    size_t need = obey_input();
    if (need == 0) dprintf(STDERR_FILENO, "an order of an impossible length came in\n");
    return need != 0 && (need == input_size || resize_input(need));
}

static void supervisor_ended(pid_t pid, int status)
{
    for (struct job **link = &jobs; *link; link = &(*link)->next) {
        struct job *job = *link;
        if (job->supervisor != pid || job->lost) continue;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            drop(link);
        } else {
            job->lost = true;
            job->result.ran = true;
            job->result.status = status;
        }
        return;
    }
}

static bool is_supervisor(pid_t pid)
{
    for (struct job *job = jobs; job; job = job->next)
        if (job->supervisor == pid && !job->lost) return true;
    return false;
}

static void kill_stray(pid_t pid, void *strays)
{
    if (is_supervisor(pid)) return;
    kill(pid, SIGKILL);
    ++*(int *)strays;
}

/*
 * The processes of a killed supervisor become our children, which nothing but supervisors ought to be: they are killed,
 * and when there are no more of them the jobs they came from are reported.
 */
static void bury_lost_jobs(void)
{
    int strays = 0;
    each_child(getpid(), kill_stray, &strays);
    if (strays > 0) return;
    for (struct job **link = &jobs; *link;) {
        struct job *job = *link;
        if (!job->lost) {
            link = &job->next;
            continue;
        }
        snprintf(job->result.error, sizeof job->result.error, "the supervisor of the job was killed");
        remove_group_of(job->supervisor);
        report_ended(job->id, job->record, &job->result, true);
        drop(link);
    }
}

static bool reap(void)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) supervisor_ended(pid, status);
    bool lost = false;
    for (struct job *job = jobs; job; job = job->next) lost |= job->lost;
    if (lost) bury_lost_jobs();
    return lost;
}

static void read_signals(int signals)
{
    struct signalfd_siginfo got[16];
    ssize_t size = read(signals, got, sizeof got);
    for (ssize_t i = 0; i < size / (ssize_t)sizeof *got; i++)
        if (got[i].ssi_signo == SIGTERM) stop();
}

static void serve(int signals)
{
    struct pollfd sources[] = { { .fd = signals, .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN } };
    bool lost = false;
    while (!stopping || jobs) {
        /* poll leaves out negative descriptors */
        if (stopping) sources[1].fd = -1;
        int found = poll(sources, 2, lost ? 5 : jobs ? -1 : IDLE);
        if (found < 0 && errno != EINTR) return;
        if (found == 0 && jobs == NULL) forget_prepared();
        if (sources[0].revents) read_signals(signals);
        lost = reap();
        if (sources[1].fd >= 0 && sources[1].revents && !read_input()) stop();
    }
}

/* All signals blocked, with their default dispositions: nothing interrupts, and a job needs only a new mask. */
static int take_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);

    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGCHLD);
    sigaddset(&ours, SIGTERM);
    return signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void ignore_child(pid_t pid, void *context)
{
    (void)pid;
    (void)context;
}

/* Where control groups may be made, if somebody said so: --cgroup=FOLDER. */
static const char *given_folder(int count, char **arguments)
{
    static const char option[] = "--cgroup=";
    for (int i = 1; i < count; i++)
        if (strncmp(arguments[i], option, strlen(option)) == 0) return arguments[i] + strlen(option);
    return NULL;
}

int main(int count, char **arguments)
{
    if (count > 1 && strcmp(arguments[1], "probe") == 0) return probe(arguments + 2);
    /* What was left open by whoever started us is no business of jobs. Done once: what we open ourselves is O_CLOEXEC. */
    for (int fd = 3; fd < 1024; fd++) close(fd);
    int signals = take_signals();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    /* Jobs inherit it: no set-uid program makes one mightier than the worker. */
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (!close_kernel_surfaces()) dprintf(STDERR_FILENO, "jobs are not kept from the kernel's surfaces: %s\n", strerror(errno));
    /* A job of the same user cannot look into us, where the environments of other jobs lie. */
    prctl(PR_SET_DUMPABLE, 0);
    /* The files of a job are nobody else's business. */
    umask(077);
    /* gmtime asks for it: read here once, and not by every supervisor. */
    tzset();

    if (!each_child(getpid(), ignore_child, NULL)) {
        dprintf(STDERR_FILENO, "/proc does not tell children here (CONFIG_PROC_CHILDREN): no tree could be ended for sure\n");
        return 1;
    }
    if (signals < 0 || !resize_input(USUAL_BUFFER)) {
        perror("the launcher could not start");
        return 1;
    }
    find_folders(given_folder(count, arguments));
    report_ready(folders_version());
    serve(signals);
    remove_folders();
    return 0;
}
