#include "result.h"

#include "signals.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * One write() of an answer, by whichever process: within PIPE_BUF it never mixes with another's. The bounds on id and
 * error below keep every line shorter than this.
 */
enum { LINE = 4096, ID = 1600, RESULT = 2300 };

static const char *error_name(int error, char *buffer, size_t size)
{
    static const struct { int error; const char *name; } names[] = {
        { E2BIG, "E2BIG" }, { EACCES, "EACCES" }, { EAGAIN, "EAGAIN" }, { EBUSY, "EBUSY" }, { EDQUOT, "EDQUOT" },
        { EINVAL, "EINVAL" }, { EIO, "EIO" }, { EISDIR, "EISDIR" }, { ELIBBAD, "ELIBBAD" }, { ELOOP, "ELOOP" },
        { EMFILE, "EMFILE" }, { ENAMETOOLONG, "ENAMETOOLONG" }, { ENFILE, "ENFILE" }, { ENODEV, "ENODEV" },
        { ENOENT, "ENOENT" }, { ENOEXEC, "ENOEXEC" }, { ENOMEM, "ENOMEM" }, { ENOSPC, "ENOSPC" },
        { ENOSYS, "ENOSYS" }, { ENOTDIR, "ENOTDIR" }, { ENXIO, "ENXIO" }, { EOPNOTSUPP, "EOPNOTSUPP" }, { EPERM, "EPERM" }, { EROFS, "EROFS" }, { ESTALE, "ESTALE" },
        { ETXTBSY, "ETXTBSY" },
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].error == error) return names[i].name;
    snprintf(buffer, size, "errno %d", error);
    return buffer;
}

double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

void begin_result(struct result *result)
{
    *result = (struct result){ .cause = "exit", .max_processes = 1 };
    clock_gettime(CLOCK_REALTIME, &result->started);
    result->started_at = now();
}

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

void add_usage(struct result *result, const struct rusage *usage)
{
    result->cpu_seconds += seconds(usage->ru_utime) + seconds(usage->ru_stime);
    if (usage->ru_maxrss > result->max_memory_kb) result->max_memory_kb = usage->ru_maxrss;
    /* The kernel counts in units of 512 bytes, whatever the disk's are. */
    result->read_bytes += (long long)usage->ru_inblock * 512;
    result->written_bytes += (long long)usage->ru_oublock * 512;
}

void set_error(struct result *result, const char *what, const char *name, const char *done, int error)
{
    char buffer[32];
    result->cause = "spawn_error";
    /* Cut in the name, so that the system's word always stands at the end. */
    snprintf(result->error, sizeof result->error, "%s %.300s could not be %s: %s", what, name, done,
             error_name(error, buffer, sizeof buffer));
}

void take_error(struct result *result, const struct result *from)
{
    result->cause = "spawn_error";
    memcpy(result->error, from->error, sizeof result->error);
}

/* As the inside of a JSON string, cut to size. */
static void escape(char *to, size_t size, const char *from)
{
    char *end = to + size - 7;
    for (; *from && to < end; from++) {
        unsigned char c = (unsigned char)*from;
        if (c == '"' || c == '\\') to += sprintf(to, "\\%c", c);
        else if (c < 0x20 || c == 0x7f) to += sprintf(to, "\\u%04x", c);
        else *to++ = (char)c;
    }
    *to = '\0';
}

static void rfc3339(char *to, size_t size, struct timespec time)
{
    struct tm utc;
    char seconds[32];
    gmtime_r(&time.tv_sec, &utc);
    strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(to, size, "%s.%03ldZ", seconds, time.tv_nsec / 1000000);
}

static void result_json(char *to, size_t size, const struct result *result)
{
    char how[80] = "", error[1700] = "", escaped[1600], name[32], started[64], finished[64], used[256] = "";
    struct timespec finish;

    clock_gettime(CLOCK_REALTIME, &finish);
    rfc3339(started, sizeof started, result->started);
    rfc3339(finished, sizeof finished, finish);
    if (result->ran && WIFSIGNALED(result->status))
        snprintf(how, sizeof how, ",\"signal\":\"%s\"", signal_name(WTERMSIG(result->status), name, sizeof name));
    else if (result->ran)
        snprintf(how, sizeof how, ",\"exitCode\":%d", WEXITSTATUS(result->status));
    if (result->error[0]) {
        escape(escaped, sizeof escaped, result->error);
        snprintf(error, sizeof error, ",\"error\":\"%s\"", escaped);
    }
    if (result->ran)
        snprintf(used, sizeof used,
                 ",\"cpuSeconds\":%.6f,\"maxMemoryBytes\":%lld,\"maxProcesses\":%ld,\"readBytes\":%lld,"
                 "\"writtenBytes\":%lld,\"pausedSeconds\":%.6f",
                 result->cpu_seconds, (long long)result->max_memory_kb * 1024, result->max_processes,
                 result->read_bytes, result->written_bytes, result->paused_seconds);
    snprintf(to, size, "{\"cause\":\"%s\"%s%s,\"startedAt\":\"%s\",\"finishedAt\":\"%s\",\"wallSeconds\":%.6f%s}",
             result->cause, how, error, started, finished, now() - result->started_at, used);
}

static void complain(const char *what, const char *name)
{
    dprintf(STDERR_FILENO, "%s %s: %s\n", what, name, strerror(errno));
}

/* Beside it first, then renamed: a record is whole or not there. It has to outlive the worker, not the machine. */
static void write_record(const char *path, const char *json)
{
    char part[4200];
    size_t length = strlen(json);
    snprintf(part, sizeof part, "%s.tmp", path);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write(fd, json, length) == (ssize_t)length;
    if (fd >= 0 && close(fd) != 0) written = false;
    if (!written || rename(part, path) != 0) complain("the record could not be written:", path);
}

static void say(const char *line)
{
    /* EPIPE: the worker is gone, and will read the record. */
    if (write(STDOUT_FILENO, line, strlen(line)) < 0 && errno != EPIPE) complain("the answer was lost:", line);
}

void report_ended(const char *id, const char *record, const struct result *result, bool answer)
{
    char json[RESULT], escaped[ID], line[LINE];
    result_json(json, sizeof json, result);
    if (record[0]) write_record(record, json);
    if (!answer) return;
    escape(escaped, sizeof escaped, id);
    snprintf(line, sizeof line, "{\"answer\":\"ended\",\"id\":\"%s\",\"result\":%s}\n", escaped, json);
    say(line);
}

void report_state(const char *what, const char *id)
{
    char escaped[ID], line[LINE];
    escape(escaped, sizeof escaped, id);
    snprintf(line, sizeof line, "{\"answer\":\"%s\",\"id\":\"%s\"}\n", what, escaped);
    say(line);
}

void report_ready(int groups)
{
    char line[LINE], version[32] = "";
    if (groups > 0) snprintf(version, sizeof version, ",\"cgroup\":\"v%d\"", groups);
    snprintf(line, sizeof line,
             "{\"answer\":\"ready\",\"protocol\":1,\"capabilities\":{\"sureEnd\":true,\"endsWithLauncher\":true,"
             "\"usage\":true,\"noNewPrivileges\":true,\"closesDescriptors\":true%s}}\n",
             version);
    say(line);
}
