#include "mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* As in linux/mount.h, which some C libraries do not let stand beside sys/mount.h; the numbers are those of all machines. */
#ifndef SYS_open_tree
#define SYS_open_tree 428
#endif
#ifndef SYS_move_mount
#define SYS_move_mount 429
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
enum { TREE_CLONE = 1, MOVE_FROM_FD = 4, MOVE_TO_LINKED = 16, WHOLE_TREE = 0x8000, ATTR_READ_ONLY = 1, ATTR_NO_SETUID = 2, ATTR_NO_DEVICES = 4 };
struct attributes {
    uint64_t set, clear, propagation, user_namespace;
};

/* Paths of one order; the worker names three or four. */
enum { MOST_PATHS = 64 };

static const char *const devices[] = { "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty" };
enum { DEVICES = sizeof devices / sizeof *devices };

/* What a tmpfs for /tmp, /var/tmp and /dev/shm together may hold where no limit of the job says less, in bytes. */
#define USUAL_TMP (1LL << 30)

static bool fail(struct result *result, const char *what, const char *path, const char *done)
{
    set_error(result, what, path, done, errno);
    return false;
}

/* A copy of the mount at a path, attached nowhere: what happens to the tree meanwhile does not touch it. */
static int copy_mount(const char *path)
{
    return (int)syscall(SYS_open_tree, AT_FDCWD, path, TREE_CLONE | O_CLOEXEC | WHOLE_TREE);
}

static bool attach(int mount, const char *path)
{
    bool attached = mount >= 0 && syscall(SYS_move_mount, mount, "", AT_FDCWD, path, MOVE_FROM_FD | MOVE_TO_LINKED) == 0;
    int error = errno;
    if (mount >= 0) close(mount);
    errno = error;
    return attached;
}

static bool set_attributes(int folder, const char *path, int flags, uint64_t set, uint64_t clear)
{
    struct attributes attributes = { .set = set, .clear = clear };
    return syscall(SYS_mount_setattr, folder, path, flags, &attributes, sizeof attributes) == 0;
}

/* Its device, its programs' rights and its files stay, but nothing in it can be a way to more rights. */
static int copy_writable(const char *path)
{
    int mount = copy_mount(path);
    if (mount >= 0 && set_attributes(mount, "", AT_EMPTY_PATH | WHOLE_TREE, ATTR_NO_SETUID | ATTR_NO_DEVICES, 0)) return mount;
    int error = errno;
    if (mount >= 0) close(mount);
    errno = error;
    return -1;
}

/* Creates what is missing, which it is only where something of ours covers the real folder. */
static void make_folders(const char *path)
{
    char part[PATH_MAX];
    for (const char *end = strchr(path + 1, '/');; end = strchr(end + 1, '/')) {
        size_t length = end ? (size_t)(end - path) : strlen(path);
        if (length >= sizeof part) return;
        memcpy(part, path, length);
        part[length] = '\0';
        mkdir(part, 0755);
        if (end == NULL) return;
    }
}

/* The folders of the one tmpfs behind all that is covered. It is mounted on /dev, whose own folder in it comes last. */
static bool fill_tmpfs(struct result *result)
{
    static const struct { const char *path; mode_t mode; } folders[] = {
        { "/dev/tmp", 01777 }, { "/dev/shm", 01777 }, { "/dev/hidden", 0755 },
        { "/dev/dev", 0755 }, { "/dev/dev/shm", 0755 }, { "/dev/dev/pts", 0755 },
    };
    static const struct { const char *path, *target; } links[] = {
        { "/dev/dev/fd", "/proc/self/fd" }, { "/dev/dev/stdin", "/proc/self/fd/0" },
        { "/dev/dev/stdout", "/proc/self/fd/1" }, { "/dev/dev/stderr", "/proc/self/fd/2" },
        { "/dev/dev/ptmx", "pts/ptmx" },
    };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (mkdir(folders[i].path, folders[i].mode) != 0)
            return fail(result, "the folder", folders[i].path, "made");
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        if (symlink(links[i].target, links[i].path) != 0) return fail(result, "the link", links[i].path, "made");
    for (size_t i = 0; i < DEVICES; i++) {
        char file[64];
        snprintf(file, sizeof file, "/dev%s", devices[i]);
        int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0) return fail(result, "the file", file, "made");
        close(fd);
    }
    return true;
}

static bool is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

/* A path that is not there, as what lies in another hidden one, has nothing to hide. */
static bool hide(char **paths, int hidden, struct result *result)
{
    for (int nth = 0; paths[nth]; nth++) {
        char name[32];
        snprintf(name, sizeof name, "%d", nth);
        struct stat status;
        if (stat(paths[nth], &status) != 0) continue;
        bool folder = S_ISDIR(status.st_mode);
        if (folder ? mkdirat(hidden, name, 0755) != 0 : mknodat(hidden, name, S_IFREG, 0) != 0)
            return fail(result, "a cover for", paths[nth], "made");
        int cover = (int)syscall(SYS_open_tree, hidden, name, TREE_CLONE | O_CLOEXEC);
        if (!attach(cover, paths[nth])) return fail(result, "the path", paths[nth], "hidden (move_mount)");
    }
    return true;
}

static long long least_limit(const struct order *order)
{
    long long size = USUAL_TMP;
    if (order->disk && order->disk < size) size = order->disk;
    if (order->memory && order->memory < size) size = order->memory;
    return size;
}

/* Mounts of the real tree that go back to their places when the rest has become read-only. */
struct kept {
    int writable[MOST_PATHS], device[DEVICES];
};

static bool keep_mounts(const struct order *order, struct kept *kept, struct result *result)
{
    for (size_t nth = 0; order->writable[nth]; nth++) {
        if (nth == MOST_PATHS) {
            errno = E2BIG;
            return fail(result, "the writable path", order->writable[nth], "kept");
        }
        kept->writable[nth] = copy_writable(order->writable[nth]);
        if (kept->writable[nth] < 0)
            return fail(result, "the writable path", order->writable[nth], "kept (open_tree)");
    }
    for (size_t nth = 0; nth < DEVICES; nth++) {
        kept->device[nth] = copy_mount(devices[nth]);
        if (kept->device[nth] < 0) return fail(result, "the device", devices[nth], "kept (open_tree)");
    }
    return true;
}

/* /dev, /tmp, /var/tmp, /dev/shm and the covers, all of one tmpfs and so under one bound. */
static bool cover(const struct order *order, struct result *result)
{
    char options[64];
    snprintf(options, sizeof options, "mode=0755,size=%lld", least_limit(order));
    if (mount("tmpfs", "/dev", "tmpfs", MS_NOSUID | MS_NODEV, options) != 0)
        return fail(result, "a file system in memory on", "/dev", "mounted (mount)");
    if (!fill_tmpfs(result)) return false;
    int tmp = copy_mount("/dev/tmp"), other_tmp = copy_mount("/dev/tmp"), shm = copy_mount("/dev/shm");
    int hidden = open("/dev/hidden", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (tmp < 0 || other_tmp < 0 || shm < 0 || hidden < 0) return fail(result, "the folder", "/dev/tmp", "kept (open_tree)");

    if (!attach(copy_mount("/dev/dev"), "/dev")) return fail(result, "the folder", "/dev", "covered (move_mount)");
    if (!attach(shm, "/dev/shm")) return fail(result, "the folder", "/dev/shm", "covered (move_mount)");
    if (!attach(tmp, "/tmp")) return fail(result, "the folder", "/tmp", "covered (move_mount)");
    if (!is_folder("/var/tmp")) close(other_tmp);
    else if (!attach(other_tmp, "/var/tmp")) return fail(result, "the folder", "/var/tmp", "covered (move_mount)");
    bool done = hide(order->hidden, hidden, result);
    close(hidden);
    return done;
}

static bool make_read_only(struct result *result)
{
    uint64_t attributes = ATTR_READ_ONLY | ATTR_NO_SETUID | ATTR_NO_DEVICES;
    if (!set_attributes(AT_FDCWD, "/", WHOLE_TREE, attributes, 0))
        return fail(result, "the file system", "/", "made read-only (mount_setattr)");
    static const char *const open_folders[] = { "/tmp", "/var/tmp", "/dev/shm" };
    for (size_t i = 0; i < sizeof open_folders / sizeof *open_folders; i++)
        if (is_folder(open_folders[i]) && !set_attributes(AT_FDCWD, open_folders[i], 0, 0, ATTR_READ_ONLY))
            return fail(result, "the folder", open_folders[i], "made writable (mount_setattr)");
    return true;
}

static bool put_back(const struct order *order, const struct kept *kept, struct result *result)
{
    for (size_t nth = 0; order->writable[nth]; nth++)
        if (!attach(kept->writable[nth], order->writable[nth]))
            return fail(result, "the writable path", order->writable[nth], "put back (move_mount)");
    for (size_t nth = 0; nth < DEVICES; nth++)
        if (!attach(kept->device[nth], devices[nth]))
            return fail(result, "the device", devices[nth], "put back (move_mount)");
    return true;
}

static bool mount_all(const struct order *order, struct result *result)
{
    struct kept kept;
    /* Nothing of ours shows outside, and nothing that is mounted outside meanwhile shows here. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return fail(result, "the file system", "/", "made private (mount)");
    if (!keep_mounts(order, &kept, result) || !cover(order, result)) return false;
    for (size_t nth = 0; order->writable[nth]; nth++) make_folders(order->writable[nth]);
    if (!make_read_only(result) || !put_back(order, &kept, result)) return false;
    if (mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620") != 0)
        return fail(result, "the terminals in", "/dev/pts", "mounted (mount)");
    /* Read-only: a job of root without any capability may still write to /proc/sys. */
    if (mount("proc", "/proc", "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
        return fail(result, "the processes in", "/proc", "mounted (mount)");
    return true;
}

bool make_view(const struct order *order, struct result *result)
{
    /* The job's user may be another one, and needs its way through what covers. */
    mode_t mask = umask(0);
    bool made = mount_all(order, result);
    umask(mask);
    return made;
}
