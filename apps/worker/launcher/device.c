#include "device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Some file systems have no number of a device; their mount names one. */
static bool device_of_mount(dev_t wanted, dev_t *device)
{
    char *line = NULL;
    size_t room = 0;
    bool found = false;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    while (file && !found && getline(&line, &room, file) > 0) {
        unsigned major, minor;
        char source[512];
        struct stat status;
        char *rest = strstr(line, " - ");
        if (rest == NULL || sscanf(line, "%*s %*s %u:%u", &major, &minor) != 2 || makedev(major, minor) != wanted ||
            sscanf(rest, " - %*s %511s", source) != 1 || stat(source, &status) != 0 || !S_ISBLK(status.st_mode))
            continue;
        *device = status.st_rdev;
        found = true;
    }
    free(line);
    if (file) fclose(file);
    return found;
}

bool disk_of(const char *path, char *number, size_t size)
{
    struct stat status;
    char file[96];
    if (stat(path, &status) != 0) return false;
    dev_t device = status.st_dev;
    if (major(device) == 0 && !device_of_mount(status.st_dev, &device)) {
        errno = ENODEV;
        return false;
    }
    snprintf(number, size, "%u:%u", major(device), minor(device));
    /* The limits are of whole disks. */
    snprintf(file, sizeof file, "/sys/dev/block/%s/partition", number);
    if (access(file, F_OK) != 0) return true;
    snprintf(file, sizeof file, "/sys/dev/block/%s/../dev", number);
    FILE *disk = fopen(file, "re");
    bool read = disk && fgets(number, (int)size, disk);
    if (disk) fclose(disk);
    number[strcspn(number, "\n")] = '\0';
    return read;
}
