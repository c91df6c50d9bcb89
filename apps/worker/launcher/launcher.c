/*
 * The small process beside the worker that starts, watches, measures and ends jobs (docs/launcher-protocol.md).
 *
 * Each job has a supervisor while it runs, which costs little to make in a process of this size, and most are used again.
 * The supervisor is the subreaper of its job: every process that the job makes is its descendant for good, whatever it
 * does to its session, group or parents, so each tree has exactly one owner, which ends, measures and reports it. Orders
 * come in here and go on to the job's supervisor; the supervisors answer the worker themselves.
 */
#include "cgroup.h"
#include "folders.h"
#include "landlock.h"
#include "order.h"
#include "probe.h"
#include "result.h"
#include "seccomp.h"
#include "supervisor.h"
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST_ORDER = 16 << 20, USUAL_BUFFER = 64 << 10, LONGEST_ID = 1024 };
/* Milliseconds without a job after which nothing is kept ready for the next. */
enum { IDLE = 5000 };
/* Supervisors without a job that are kept. */
enum { MOST_FREE = 32 };

struct supervisor {
    struct supervisor *next;
    pid_t pid;
    int line; /* its orders go out here; -1: no more will */
    /* Of its job; NULL: it has none. */
    char *id;
    char *record;
    struct result result; /* for the report that a lost supervisor cannot make */
    bool lost;            /* it was killed by somebody while it had a job */
};

static struct supervisor *supervisors;
static bool stopping;
/* Supervisors that are free write their numbers into one end; we read them from the other when we look anyway. */
static int frees[2];

static char *input;
static size_t input_size, input_used;

static bool is_free(const struct supervisor *supervisor)
{
    return supervisor->id == NULL && supervisor->line >= 0;
}

static bool is_any_busy(void)
{
    for (struct supervisor *s = supervisors; s; s = s->next)
        if (s->id) return true;
    return false;
}

static void forget_job(struct supervisor *supervisor)
{
    free(supervisor->id);
    free(supervisor->record);
    supervisor->id = supervisor->record = NULL;
}

/* It ends when its job is over. */
static void close_line(struct supervisor *supervisor)
{
    if (supervisor->line >= 0) close(supervisor->line);
    supervisor->line = -1;
}

static void drop(struct supervisor **link)
{
    struct supervisor *supervisor = *link;
    *link = supervisor->next;
    close_line(supervisor);
    forget_job(supervisor);
    free(supervisor);
}

static bool send_on_line(const struct supervisor *supervisor, const char *order, size_t size)
{
    errno = EMSGSIZE;
    return size <= LONGEST_ON_LINE &&
           send(supervisor->line, order, size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size;
}

static void tell(const struct supervisor *supervisor, const char *order, size_t size)
{
    /* EPIPE: it is gone, and its job with it. */
    if (!send_on_line(supervisor, order, size) && errno != EPIPE)
        dprintf(STDERR_FILENO, "the supervisor of %.100s could not be told: %s\n", supervisor->id, strerror(errno));
    kill(supervisor->pid, LOOK_AT_LINE);
}

static void end(const struct supervisor *supervisor)
{
    char order[LONGEST_ID + 16];
    int size = snprintf(order, sizeof order, "end%cid=%s", '\0', supervisor->id);
    tell(supervisor, order, (size_t)size + 1);
}

static void stop(void)
{
    if (stopping) return;
    stopping = true;
    for (struct supervisor *s = supervisors; s; s = s->next) {
        if (s->id && !s->lost) end(s);
        close_line(s);
    }
}

static void refuse(const struct order *order, const char *what, const char *name, const char *done, int error)
{
    struct result result;
    begin_result(&result);
    set_error(&result, what, name, done, error);
    report_ended(order->id, order->record, &result, true);
}

static void let_go_all_free(void)
{
    for (struct supervisor *s = supervisors; s; s = s->next)
        if (is_free(s)) close_line(s);
}

/* False: no memory. */
static bool take_job(struct supervisor *supervisor, const struct order *order)
{
    supervisor->id = strdup(order->id);
    supervisor->record = strdup(order->record);
    if (supervisor->id && supervisor->record) {
        begin_result(&supervisor->result);
        return true;
    }
    forget_job(supervisor);
    return false;
}

/* In a process with all that we have, of which the lines of others are none of its business. */
static _Noreturn void begin_supervisor(const struct order *order, int line, pid_t launcher)
{
    for (struct supervisor *s = supervisors; s; s = s->next) close_line(s);
    close(frees[0]);
    supervise(order, &(struct post){ .launcher = launcher, .line = line, .free = frees[1] });
}

/* Makes a supervisor that begins with this job. */
static bool make_supervisor(const struct order *order)
{
    struct supervisor *made = calloc(1, sizeof *made);
    int line[2] = { -1, -1 };
    pid_t launcher = getpid(), pid = -1;

    if (wants_group(order)) prepare_folders();
    if (made && take_job(made, order) && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) == 0) {
        prepare_reading(order);
        pid = fork();
        if (pid == 0) {
            close(line[0]);
            begin_supervisor(order, line[1], launcher);
        }
    }
    int error = errno;
    if (line[1] >= 0) close(line[1]);
    if (pid > 0) {
        made->pid = pid;
        made->line = line[0];
        made->next = supervisors;
        supervisors = made;
        return true;
    }
    if (line[0] >= 0) close(line[0]);
    if (made) forget_job(made);
    free(made);
    errno = error;
    return false;
}

static bool give_to_free(const struct order *order, const char *frame, size_t size)
{
    if (size > LONGEST_ON_LINE || needs_own_supervisor(order)) return false;
    for (struct supervisor *s = supervisors; s; s = s->next) {
        if (!is_free(s) || !take_job(s, order)) continue;
        if (send_on_line(s, frame, size)) return true;
        /* It was killed, or hangs. */
        forget_job(s);
        close_line(s);
    }
    return false;
}

/* frame: the order whole; fields: what follows the verb, which reading leaves as it is */
static void start(char *frame, char *fields, size_t size)
{
    struct order order;
    if (!read_order(&order, fields, size - (size_t)(fields - frame))) {
        dprintf(STDERR_FILENO, "no memory to read an order\n");
        return;
    }
    /* A field that we do not know may be a limit: without it the job must not run. */
    if (order.unknown) refuse(&order, "the field", order.unknown, "understood by this launcher", EINVAL);
    else if (strlen(order.id) > LONGEST_ID) refuse(&order, "the id", order.id, "kept", ENAMETOOLONG);
    else if (strlen(order.record) + sizeof ".tmp" > PATH_MAX)
        refuse(&order, "the record", order.record, "written", ENAMETOOLONG);
    else if (!give_to_free(&order, frame, size) && !make_supervisor(&order))
        refuse(&order, "a process for", order.argv[0] ? order.argv[0] : "", "made", errno);
    free_order(&order);
}

static void pass_on(const char *order, const char *fields, size_t size)
{
    const char *id = strncmp(fields, "id=", 3) == 0 ? fields + 3 : "";
    for (struct supervisor *s = supervisors; s; s = s->next)
        if (s->id && !s->lost && strcmp(s->id, id) == 0) tell(s, order, size);
}

/* The order's last byte is NUL. */
static void obey(char *order, size_t size)
{
    static const char *const passed_on[] = { "end", "kill", "pause", "resume", "signal" };
    size_t verb = strlen(order) + 1;
    char *fields = order + verb;
    if (strcmp(order, "start") == 0) {
        start(order, fields, size);
        return;
    }
    for (size_t i = 0; size > verb && i < sizeof passed_on / sizeof *passed_on; i++)
        if (strcmp(order, passed_on[i]) == 0) {
            pass_on(order, fields, size);
            return;
        }
    dprintf(STDERR_FILENO, "the order %.100s is not known\n", order);
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

static struct supervisor **supervisor_of(pid_t pid)
{
    struct supervisor **link = &supervisors;
    while (*link && ((*link)->pid != pid || (*link)->lost)) link = &(*link)->next;
    return link;
}

static void supervisor_ended(pid_t pid, int status)
{
    struct supervisor **link = supervisor_of(pid), *supervisor = *link;
    if (supervisor == NULL) return;
    if (supervisor->id == NULL || (WIFEXITED(status) && WEXITSTATUS(status) == 0)) {
        drop(link);
        return;
    }
    supervisor->lost = true;
    supervisor->result.ran = true;
    supervisor->result.status = status;
}

static void kill_stray(pid_t pid, void *strays)
{
    if (*supervisor_of(pid)) return;
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
    for (struct supervisor **link = &supervisors; *link;) {
        struct supervisor *supervisor = *link;
        if (!supervisor->lost) {
            link = &supervisor->next;
            continue;
        }
        snprintf(supervisor->result.error, sizeof supervisor->result.error, "the supervisor of the job was killed");
        remove_group_of(supervisor->pid);
        report_ended(supervisor->id, supervisor->record, &supervisor->result, true);
        drop(link);
    }
}

static bool reap(void)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) supervisor_ended(pid, status);
    bool lost = false;
    for (struct supervisor *s = supervisors; s; s = s->next) lost |= s->lost;
    if (lost) bury_lost_jobs();
    return lost;
}

static void read_free(void)
{
    pid_t pids[64];
    ssize_t size;
    while ((size = read(frees[0], pids, sizeof pids)) > 0)
        for (size_t i = 0; i < (size_t)size / sizeof *pids; i++) {
            struct supervisor *supervisor = *supervisor_of(pids[i]);
            if (supervisor) forget_job(supervisor);
        }
    int kept = 0;
    for (struct supervisor *s = supervisors; s; s = s->next)
        if (is_free(s) && ++kept > MOST_FREE) close_line(s);
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
    struct pollfd sources[] = {
        { .fd = signals, .events = POLLIN }, { .fd = STDIN_FILENO, .events = POLLIN },
    };
    bool lost = false;
    while (!stopping || supervisors) {
        /* poll leaves out negative descriptors */
        if (stopping) sources[1].fd = -1;
        int found = poll(sources, 2, lost ? 5 : IDLE);
        if (found < 0 && errno != EINTR) return;
        read_free();
        forget_old();
        if (found == 0 && !is_any_busy()) let_go_all_free();
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
    if (signals < 0 || pipe2(frees, O_CLOEXEC | O_NONBLOCK) != 0 || !resize_input(USUAL_BUFFER)) {
        perror("the launcher could not start");
        return 1;
    }
    find_folders(given_folder(count, arguments));
    report_ready(folders_version());
    serve(signals);
    remove_folders();
    return 0;
}
