#include "order.h"

#include <stdlib.h>
#include <string.h>

/* The value behind "name=" or NULL where the field has another name. */
static char *value_of(char *field, const char *name)
{
    size_t length = strlen(name);
    return strncmp(field, name, length) == 0 && field[length] == '=' ? field + length + 1 : NULL;
}

static void read_field(struct order *order, char *field, size_t *args, size_t *envs)
{
    char *value;
    if ((value = value_of(field, "env"))) order->envp[(*envs)++] = value;
    else if ((value = value_of(field, "arg"))) order->argv[(*args)++] = value;
    else if ((value = value_of(field, "id"))) order->id = value;
    else if ((value = value_of(field, "directory"))) order->directory = value;
    else if ((value = value_of(field, "stdout"))) order->out = value;
    else if ((value = value_of(field, "stderr"))) order->err = value;
    else if ((value = value_of(field, "record"))) order->record = value;
    else if ((value = value_of(field, "wallTime"))) order->wall_time = strtod(value, NULL);
    else if ((value = value_of(field, "killGrace"))) order->kill_grace = strtod(value, NULL);
    else order->unknown = field;
}

bool read_order(struct order *order, char *fields, size_t size)
{
    size_t count = 0, args = 0, envs = 0;
    for (size_t i = 0; i < size; i++) count += fields[i] == '\0';

    /* Each field is at most one argument or one variable; two ends and the spare slot. */
    char **slots = calloc(2 * count + 3, sizeof *slots);
    if (slots == NULL) return false;
    *order = (struct order){ .id = "", .directory = "/", .out = "/dev/null", .err = "/dev/null", .record = "" };
    order->argv = slots + 1;
    order->envp = slots + count + 2;
    for (char *field = fields; field < fields + size; field += strlen(field) + 1)
        read_field(order, field, &args, &envs);
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
