#include "namespaces.h"

#include "child.h"
#include "mounts.h"
#include "places.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <linux/capability.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* From the supervisor to the first process: pass a signal on. It is queued, and its value says which and to whom. */
#define PASS_ON SIGRTMIN
enum { TO_GROUP = 1 << 8 };

static bool may_make_namespaces(void)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    return syscall(SYS_capget, &header, data) == 0 && (data[0].effective & 1U << CAP_SYS_ADMIN) != 0;
}

bool give_up_capabilities(struct result *result)
{
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };
    if (syscall(SYS_capset, &header, none) == 0) return true;
    set_error(result, "the capabilities of", "the job", "given up (capset)", errno);
    return false;
}

/* Inside, users have the numbers that they have outside: ours, and the job's where root gave it another one. */
static bool map_users(pid_t first, uid_t job, struct result *result)
{
    static const char *const files[] = { "setgroups", "gid_map", "uid_map" };
    unsigned own[] = { 0, getegid(), geteuid() };
    char folder[32], map[96];
    snprintf(folder, sizeof folder, "/proc/%d", first);
    for (int i = 0; i < 3; i++) {
        /* Who is not root must give up setting groups before mapping one. */
        if (i == 0 && own[2] == 0) continue;
        int length = snprintf(map, sizeof map, "%u %u 1\n", own[i], own[i]);
        if (i == 0) snprintf(map, sizeof map, "deny");
        else if (job != 0 && job != own[i]) snprintf(map + length, sizeof map - (size_t)length, "%u %u 1\n", job, job);
        if (!write_text(folder, files[i], map)) {
            set_error(result, "the users of the job's namespace", files[i], "mapped (write)", errno);
            return false;
        }
    }
    return true;
}

/* Not fork: the namespaces begin with the new process. */
static pid_t fork_into(int namespaces)
{
    return (pid_t)syscall(SYS_clone, (long)namespaces | SIGCHLD, NULL, NULL, NULL, NULL);
}

static bool raise_loopback(struct result *result)
{
    struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    if (!up) set_error(result, "the network interface", "lo", "brought up (ioctl)", errno);
    if (fd >= 0) close(fd);
    return up;
}

/* True: the job goes on. */
static bool wait_for_all_dead(pid_t main, struct inside *inside)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != main) continue;
        inside->status = status;
        inside->ran = true;
        if (!inside->asked) return false;
    }
    return pid == 0;
}

/* Our end, told by no exit code, is the end of everything in the namespace. */
static _Noreturn void attend(pid_t main, struct inside *inside)
{
    sigset_t all;
    siginfo_t info;
    sigfillset(&all);
    while (wait_for_all_dead(main, inside)) {
        if (sigwaitinfo(&all, &info) != PASS_ON || inside->ran) continue;
        int order = info.si_value.sival_int;
        kill(order & TO_GROUP ? -main : main, order & ~TO_GROUP);
    }
    _exit(0);
}

/* What the first process begins with. */
struct start {
    const struct order *order;
    struct inside *inside;
    int files[3];
};

static _Noreturn void be_first(const struct start *start, int go)
{
    const struct order *order = start->order;
    struct result *result = &start->inside->result;
    char byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setsid();
    /* Until the supervisor has mapped our users; or it died. */
    if (go >= 0 && read(go, &byte, 1) != 1) _exit(1);
    prctl(PR_SET_DUMPABLE, 0);
    /* So nothing here holds the launcher's own channels. */
    use_files(start->files);
    if (order->network_off && !raise_loopback(result)) _exit(1);
    if (!make_view(order, result)) _exit(1);
    pid_t main = start_child(order, result);
    if (main < 0) _exit(1);
    attend(main, start->inside);
}

/* As one who may not make them: a namespace of users comes with the others, and gives the right to. */
static pid_t start_mapped(const struct start *start, int namespaces, struct result *result)
{
    int go[2];
    if (pipe2(go, O_CLOEXEC) != 0) {
        set_error(result, "a pipe for", "the job's namespaces", "made", errno);
        return -1;
    }
    /* Else the maps would belong to root. A job that may look into us in this moment may look into the worker at any. */
    prctl(PR_SET_DUMPABLE, 1);
    pid_t pid = fork_into(namespaces | CLONE_NEWUSER);
    int error = errno;
    if (pid == 0) {
        close(go[1]);
        be_first(start, go[0]);
    }
    close(go[0]);
    if (pid < 0) {
        set_error(result, "the namespaces", "of the job, one of users among them,", "made (clone)", error);
    } else if (!map_users(pid, start->order->uid, result) || write(go[1], "", 1) != 1) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        pid = -1;
    }
    prctl(PR_SET_DUMPABLE, 0);
    close(go[1]);
    return pid;
}

static pid_t start_first(const struct start *start, struct result *result)
{
    int namespaces = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
    if (start->order->network_off) namespaces |= CLONE_NEWNET;
    if (!may_make_namespaces()) return start_mapped(start, namespaces, result);
    pid_t pid = fork_into(namespaces);
    if (pid == 0) be_first(start, -1);
    if (pid < 0) set_error(result, "the namespaces", "of the job", "made (clone)", errno);
    return pid;
}

pid_t start_in_namespaces(const struct order *order, struct inside **inside, struct result *result)
{
    struct start start = { .order = order };
    start.inside = mmap(NULL, sizeof *start.inside, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (start.inside == MAP_FAILED) {
        set_error(result, "memory for", "the job's namespaces", "shared (mmap)", errno);
        return -1;
    }
    *inside = start.inside;
    /* Here: what is open for writing in its own namespace could not be made read-only there. */
    if (!open_files(order, start.files, result)) return -1;
    pid_t pid = start_first(&start, result);
    for (int i = 0; i < 3; i++) close(start.files[i]);
    return pid;
}

void signal_inside(pid_t first, int signal, bool group)
{
    sigqueue(first, PASS_ON, (union sigval){ .sival_int = signal | (group ? TO_GROUP : 0) });
}
