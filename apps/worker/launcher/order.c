#include "order.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The value behind "name=" or NULL where the field has another name. */
static char *value_of(char *field, const char *name)
{
    size_t length = strlen(name);
    return strncmp(field, name, length) == 0 && field[length] == '=' ? field + length + 1 : NULL;
}

/* Where the next of each repeated field goes. */
struct ends {
    char **arg, **env, **writable, **hidden;
};

static bool read_number(double *number, const char *text)
{
    char *end;
    *number = strtod(text, &end);
    return end != text && *end == '\0' && *number >= 0;
}

static bool read_count(long long *count, const char *text)
{
    char *end;
    errno = 0;
    *count = strtoll(text, &end, 10);
    return end != text && *end == '\0' && *count > 0 && errno == 0;
}

static bool read_uid(uid_t *uid, const char *text)
{
    long long number;
    if (!read_count(&number, text) || number >= UINT32_MAX) return false;
    *uid = (uid_t)number;
    return true;
}

static bool read_isolation(enum isolation *isolation, const char *text)
{
    static const char *const names[] = {
        [ISOLATION_PROCESS] = "process", [ISOLATION_NAMESPACES] = "namespaces", [ISOLATION_CGROUP] = "cgroup",
    };
    for (enum isolation i = ISOLATION_PROCESS; i <= ISOLATION_CGROUP; i++)
        if (strcmp(names[i], text) == 0) {
            *isolation = i;
            return true;
        }
    return false;
}

static bool keep(const char **text, const char *value)
{
    *text = value;
    return true;
}

static bool append(char ***end, char *value)
{
    *(*end)++ = value;
    return true;
}

/* False: a name or a value that is not known here. */
static bool read_field(struct order *order, char *field, struct ends *ends)
{
    char *value;
    if ((value = value_of(field, "env"))) return append(&ends->env, value);
    if ((value = value_of(field, "arg"))) return append(&ends->arg, value);
    if ((value = value_of(field, "writable"))) return append(&ends->writable, value);
    if ((value = value_of(field, "hidden"))) return append(&ends->hidden, value);
    if ((value = value_of(field, "id"))) return keep(&order->id, value);
    if ((value = value_of(field, "directory"))) return keep(&order->directory, value);
    if ((value = value_of(field, "stdout"))) return keep(&order->out, value);
    if ((value = value_of(field, "stderr"))) return keep(&order->err, value);
    if ((value = value_of(field, "record"))) return keep(&order->record, value);
    if ((value = value_of(field, "wallTime"))) return read_number(&order->wall_time, value);
    if ((value = value_of(field, "killGrace"))) return read_number(&order->kill_grace, value);
    if ((value = value_of(field, "idleTime"))) return read_number(&order->idle_time, value);
    if ((value = value_of(field, "isolation"))) return read_isolation(&order->isolation, value);
    if ((value = value_of(field, "cpu"))) return read_number(&order->cpu, value);
    if ((value = value_of(field, "memory"))) return read_count(&order->memory, value);
    if ((value = value_of(field, "processes"))) return read_count(&order->processes, value);
    if ((value = value_of(field, "openFiles"))) return read_count(&order->open_files, value);
    if ((value = value_of(field, "fileSize"))) return read_count(&order->file_size, value);
    if ((value = value_of(field, "disk"))) return read_count(&order->disk, value);
    if ((value = value_of(field, "ioRead"))) return read_count(&order->io_read, value);
    if ((value = value_of(field, "ioWrite"))) return read_count(&order->io_write, value);
    if ((value = value_of(field, "network"))) return (order->network_off = strcmp(value, "off") == 0);
    if ((value = value_of(field, "uid"))) return read_uid(&order->uid, value);
    return false;
}

bool read_order(struct order *order, char *fields, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++) count += fields[i] == '\0';

    /* Each field is at most one entry of one list; four ends and the spare slot. */
    char **slots = calloc(4 * count + 5, sizeof *slots);
    if (slots == NULL) return false;
    struct ends ends = {
        .arg = slots + 1, .env = slots + count + 2, .writable = slots + 2 * count + 3, .hidden = slots + 3 * count + 4,
    };
    *order = (struct order){ .id = "", .directory = "/", .out = "/dev/null", .err = "/dev/null", .record = "",
                             .argv = ends.arg, .envp = ends.env, .writable = ends.writable, .hidden = ends.hidden };
    for (char *field = fields; field < fields + size; field += strlen(field) + 1)
        if (!read_field(order, field, &ends)) order->unknown = field;
    return true;
}

void free_order(struct order *order)
{
    free(order->argv - 1);
}

const char *env_value(char **envp, const char *name)
{
    for (; *envp; envp++) {
        const char *value = value_of(*envp, name);
        if (value) return value;
    }
    return NULL;
}
