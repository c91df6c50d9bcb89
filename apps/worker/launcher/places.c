#include "places.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Where version 2 puts the processes of a group that is to have groups in it. */
#define OWN_LEAF "/labhand-self"

static const char *const names[CONTROLLERS] = {
    [MEMORY] = "memory", [CPU] = "cpu", [CPU_TIME] = "cpuacct", [PROCESSES] = "pids", [IO] = "blkio", [FREEZER] = "freezer",
};

bool read_text(const char *folder, const char *file, char *text, size_t size)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t length = read(fd, text, size - 1);
    int error = errno;
    close(fd);
    errno = error;
    if (length < 0) return false;
    text[length] = '\0';
    return true;
}

bool write_text(const char *folder, const char *file, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return false;
    bool written = write(fd, text, strlen(text)) >= 0;
    int error = errno;
    close(fd);
    errno = error;
    return written;
}

bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = list; *at; at += strspn(at, ", \n")) {
        size_t this = strcspn(at, ", \n");
        if (this == length && strncmp(at, word, length) == 0) return true;
        at += this;
    }
    return false;
}

bool is_repeated(char *const base[CONTROLLERS], enum controller controller)
{
    for (enum controller c = 0; c < controller; c++)
        if (base[c] && base[controller] && strcmp(base[c], base[controller]) == 0) return true;
    return false;
}

static bool is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* Our group as /proc/self/cgroup has it, for a controller of version 1, or version 2 with "". */
static bool own_group(const char *controller, char *path, size_t size)
{
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && !found && getline(&line, &room, file) > 0) {
        char *list = strchr(line, ':'), *group = list ? strchr(list + 1, ':') : NULL;
        if (group == NULL) continue;
        *list++ = *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        if (*controller ? !has_word(list, controller) : *list != '\0') continue;
        snprintf(path, size, "%s", group);
        found = true;
    }
    free(line);
    if (file) fclose(file);
    return found;
}

/* The part of a group's path below what is mounted; NULL: it is not below. */
static const char *below(const char *group, const char *root)
{
    if (strncmp(group, "/..", 3) == 0) return NULL;
    if (strcmp(root, "/") == 0) return strcmp(group, "/") == 0 ? "" : group;
    size_t length = strlen(root);
    return strncmp(group, root, length) == 0 && (group[length] == '/' || group[length] == '\0') ? group + length : NULL;
}

static char *folder_of(const char *mount, const char *root, const char *controller)
{
    char group[PATH_MAX], folder[PATH_MAX];
    const char *rest = own_group(controller, group, sizeof group) ? below(group, root) : NULL;
    if (rest == NULL || snprintf(folder, sizeof folder, "%s%s", mount, rest) >= (int)sizeof folder) return NULL;
    return is_folder(folder) ? strdup(folder) : NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), most = strlen(end);
    return length >= most && strcmp(text + length - most, end) == 0;
}

static bool has_mark(const char *folder, const char *name)
{
    char value;
    return getxattr(folder, name, &value, sizeof value) == 1 && value == '1';
}

/*
 * The group of a unit is systemd's own until it is delegated (systemd.resource-control(5), Delegate=): it would take a job
 * that was killed for its memory for a failure of the unit, and end that.
 */
static bool belongs_to_systemd(const char *folder)
{
    bool is_unit = ends_with(folder, ".service") || ends_with(folder, ".scope");
    return is_unit && !has_mark(folder, "trusted.delegate") && !has_mark(folder, "user.delegate");
}

static void use_everywhere(struct places *places, const char *folder)
{
    places->version = 2;
    for (enum controller c = 0; c < CONTROLLERS; c++) {
        free(places->base[c]);
        places->base[c] = strdup(folder);
    }
}

/* Beside version 1 there may be a tree of version 2 that controls nothing. */
static void note_version_2(struct places *places, const char *mount, const char *root)
{
    char controllers[256];
    char *folder = folder_of(mount, root, "");
    if (folder == NULL) return;
    /* Moved there by an earlier launcher of the same group. */
    if (ends_with(folder, OWN_LEAF)) folder[strlen(folder) - strlen(OWN_LEAF)] = '\0';
    if (belongs_to_systemd(folder))
        places->error = EBUSY;
    else if (read_text(folder, "cgroup.controllers", controllers, sizeof controllers) &&
             (has_word(controllers, "memory") || has_word(controllers, "pids") || has_word(controllers, "cpu")))
        use_everywhere(places, folder);
    free(folder);
}

static void note_version_1(struct places *places, const char *mount, const char *root, const char *options)
{
    for (enum controller c = 0; c < CONTROLLERS; c++) {
        if (places->base[c] || !has_word(options, names[c])) continue;
        places->base[c] = folder_of(mount, root, names[c]);
        if (places->base[c]) places->version = 1;
    }
}

static void find_own(struct places *places)
{
    char *line = NULL;
    size_t room = 0;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    while (file && places->version != 2 && getline(&line, &room, file) > 0) {
        char root[PATH_MAX], mount[PATH_MAX], type[64], options[512];
        char *rest = strstr(line, " - ");
        if (rest == NULL || sscanf(line, "%*s %*s %*s %4095s %4095s", root, mount) != 2 ||
            sscanf(rest, " - %63s %*s %511s", type, options) != 2)
            continue;
        if (strcmp(type, "cgroup2") == 0) note_version_2(places, mount, root);
        else if (strcmp(type, "cgroup") == 0) note_version_1(places, mount, root, options);
    }
    free(line);
    if (file) fclose(file);
}

static void find_prepared(struct places *places, const char *prepared)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s/cgroup.controllers", prepared);
    if (access(folder, F_OK) == 0) {
        use_everywhere(places, prepared);
        return;
    }
    for (enum controller c = 0; c < CONTROLLERS; c++) {
        snprintf(folder, sizeof folder, "%s/%s", prepared, names[c]);
        if (!is_folder(folder)) continue;
        places->base[c] = strdup(folder);
        places->version = 1;
    }
}

static void drop_not_writable(struct places *places)
{
    bool any = false;
    for (enum controller c = 0; c < CONTROLLERS; c++) {
        if (places->base[c] == NULL) continue;
        if (access(places->base[c], W_OK) == 0) {
            any = true;
            continue;
        }
        places->error = errno;
        free(places->base[c]);
        places->base[c] = NULL;
    }
    if (!any) places->version = 0;
}

void find_places(struct places *places, const char *prepared)
{
    *places = (struct places){ .error = ENOENT };
    if (prepared) find_prepared(places, prepared);
    else find_own(places);
    drop_not_writable(places);
}
