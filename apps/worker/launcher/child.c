#include "child.h"

#include "cgroup.h"
#include "identity.h"
#include "landlock.h"
#include "limits.h"
#include "namespaces.h"
#include "seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where glibc's execvp looks when there is no PATH. */
#define DEFAULT_PATH "/bin:/usr/bin"

static bool is_text(const char *path)
{
    char start[128];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t length = read(fd, start, sizeof start);
    close(fd);
    return length >= 0 && memchr(start, '\0', (size_t)length) == NULL;
}

/*
 * Returns only when it fails, with the error in errno. A script without a #! line is run by /bin/sh, as every shell and
 * execvp do; a program for another machine is not.
 */
static void exec_file(const struct order *order, char *path)
{
    execve(path, order->argv, order->envp);
    if (errno != ENOEXEC) return;
    if (!is_text(path)) {
        errno = ENOEXEC;
        return;
    }
    char **script = order->argv - 1;
    script[0] = "/bin/sh";
    script[1] = path;
    execve("/bin/sh", script, order->envp);
}

/* Looks the program up in the PATH of the job, as execvp would in ours. Returns the error. */
static int exec_program(const struct order *order)
{
    char *program = order->argv[0];
    if (*program == '\0') return ENOENT;
    if (strchr(program, '/')) {
        exec_file(order, program);
        return errno;
    }

    const char *path = env_value(order->envp, "PATH");
    char file[PATH_MAX];
    int error = ENOENT;
    for (const char *at = path ? path : DEFAULT_PATH, *end;; at = end + 1) {
        end = strchrnul(at, ':');
        int length = (int)(end - at);
        if (snprintf(file, sizeof file, "%.*s%s%s", length, at, length ? "/" : "", program) < (int)sizeof file) {
            exec_file(order, file);
            /* Said of a folder that we may not search too; then the program may be further on, or nowhere. */
            if (errno == EACCES) error = access(file, F_OK) == 0 ? EACCES : error;
            else if (errno != ENOENT && errno != ENOTDIR) return errno;
        }
        if (*end == '\0') return error;
    }
}

bool open_files(const struct order *order, int files[3], struct result *result)
{
    const char *const paths[] = { "/dev/null", order->out, order->err };
    for (int i = 0; i < 3; i++) {
        int flags = i == STDIN_FILENO ? O_RDONLY : O_WRONLY | O_APPEND | O_CREAT;
        files[i] = open(paths[i], flags | O_CLOEXEC | O_NOCTTY, 0600);
        if (files[i] >= 0) continue;
        set_error(result, i == STDIN_FILENO ? "the file" : "the output file", paths[i], "opened", errno);
        return false;
    }
    return true;
}

void use_files(const int files[3])
{
    /* dup2 leaves O_CLOEXEC behind; every other descriptor of ours has it, so the job inherits these three alone. */
    for (int i = 0; i < 3; i++) dup2(files[i], i);
}

/* The first process in namespaces has the files already: their folders are hidden by now. */
static bool take_files(const struct order *order, struct result *result)
{
    int files[3];
    if (order->isolation >= ISOLATION_NAMESPACES) return true;
    if (!open_files(order, files, result)) return false;
    use_files(files);
    return true;
}

/* From here on the job can do no more than it may. */
static bool restrict_job(const struct order *order, struct result *result)
{
    bool own_view = order->isolation >= ISOLATION_NAMESPACES;
    if (!give_files(order, result)) return false;
    if (!own_view && !confine(order, result)) return false;
    /* Not before: to confine takes files and memory of its own. */
    if (!set_limits(order, result) || !become_user(order, result)) return false;
    if (own_view) return give_up_capabilities(result);
    if (!order->network_off || close_network()) return true;
    set_error(result, "the network", "", "closed", errno);
    return false;
}

/* In the new process, which shares our memory until it becomes the job: so the result needs no pipe. */
static void become_job(const struct order *order, struct result *result)
{
    /* Own session and group: no terminal, and a signal to its group reaches nobody else. */
    setsid();
    if (!take_files(order, result) || !join_group(result)) return;
    if (chdir(order->directory) != 0)
        set_error(result, "the working directory", order->directory, "entered", errno);
    else if (restrict_job(order, result)) {
        /* Should its supervisor be killed, at least the main process goes with it. A change of user clears it. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        const char *program = order->argv[0];
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        set_error(result, "the program", program, "started", exec_program(order));
    }
}

pid_t start_child(const struct order *order, struct result *result)
{
    if (order->argv[0] == NULL) {
        set_error(result, "an empty command", "", "started", EINVAL);
        return -1;
    }
    pid_t pid = vfork();
    if (pid == 0) {
        become_job(order, result);
        _exit(127);
    }
    if (pid < 0) set_error(result, "a process for", order->argv[0], "made", errno);
    if (result->error[0] == '\0') return pid;
    /* Written before the exec: that process never was the job. */
    if (pid > 0) waitpid(pid, NULL, 0);
    return -1;
}
