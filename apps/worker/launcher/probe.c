#include "probe.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BLOCK = 64 << 10, MOST_CHILDREN = 1000 };

static void could(bool done, const char *what)
{
    if (done) puts(what);
}

static bool can_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    char byte;
    /* /proc tells by the first read whether it may be read. */
    bool done = fd >= 0 && ((flags & O_ACCMODE) != O_RDONLY || read(fd, &byte, 1) >= 0);
    if (fd >= 0) close(fd);
    return done;
}

static bool can_read_memory_file(const char *pid, const char *file)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%.20s/%s", pid, file);
    return can_open(path, O_RDONLY);
}

/* WRITABLE-FOLDER OTHER-FOLDER EXISTING-FILE HIDDEN-FILE PID...: the files and processes that are not the job's. */
static void try_to_leave(char **argv)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/made", argv[0]);
    could(can_open(path, O_WRONLY | O_CREAT), "write its own folder");
    snprintf(path, sizeof path, "%s/made", argv[1]);
    could(can_open(path, O_WRONLY | O_CREAT), "make a file in another folder");
    could(can_open(argv[2], O_WRONLY), "write another file");
    could(truncate(argv[2], 0) == 0, "cut another file");
    could(can_open(argv[3], O_RDONLY), "read a hidden file");
    for (char **pid = argv + 4; *pid; pid++) {
        could(can_read_memory_file(*pid, "environ"), "read the environment of the worker");
        could(can_read_memory_file(*pid, "mem"), "open the memory of the worker");
    }
    printf("user %u\n", geteuid());
}

static void try_sockets(void)
{
    static const struct { int family, type; const char *name; } sockets[] = {
        { AF_UNIX, SOCK_STREAM, "unix" }, { AF_INET, SOCK_STREAM, "tcp" }, { AF_INET, SOCK_DGRAM, "udp" },
        { AF_INET6, SOCK_STREAM, "tcp6" }, { AF_INET6, SOCK_DGRAM, "udp6" }, { AF_NETLINK, SOCK_RAW, "netlink" },
        { AF_PACKET, SOCK_RAW, "packet" },
    };
    for (size_t i = 0; i < sizeof sockets / sizeof *sockets; i++)
        could(socket(sockets[i].family, sockets[i].type | SOCK_CLOEXEC, 0) >= 0, sockets[i].name);
}

/* BYTES: of memory, each page of it written. */
static void allocate(const char *bytes)
{
    size_t size = strtoull(bytes, NULL, 10);
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;
    for (size_t at = 0; at < size; at += 4096) ((volatile char *)memory)[at] = 1;
    puts("allocated");
}

/* COUNT: children that stay, and this process. */
static void have_children(int count)
{
    int processes = 1;
    for (int i = 0; i < count && i < MOST_CHILDREN; i++) {
        pid_t pid = fork();
        if (pid == 0)
            for (;;) pause();
        if (pid > 0) processes++;
    }
    printf("%d\n", processes);
}

/* COUNT: files, with its first three. */
static void open_many(int count)
{
    int most = 2;
    for (int i = 0; i < count; i++) {
        int fd = open("/", O_PATH);
        if (fd > most) most = fd;
    }
    printf("%d\n", most + 1);
}

/* PATH BYTES: written in blocks, as far as it gets. */
static void fill(const char *path, const char *bytes)
{
    static const char block[BLOCK];
    long long left = strtoll(bytes, NULL, 10);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    while (left > 0 && write(fd, block, sizeof block) > 0) left -= BLOCK;
    puts(left > 0 ? "cut" : "filled");
}

int probe(char **argv)
{
    const char *what = argv[0] ? argv[0] : "";
    int given = 0;
    while (argv[given]) given++;
    if (strcmp(what, "leave") == 0 && given > 4) try_to_leave(argv + 1);
    else if (strcmp(what, "sockets") == 0) try_sockets();
    else if (strcmp(what, "allocate") == 0 && given == 2) allocate(argv[1]);
    else if (strcmp(what, "children") == 0 && given == 2) have_children(atoi(argv[1]));
    else if (strcmp(what, "open") == 0 && given == 2) open_many(atoi(argv[1]));
    else if (strcmp(what, "fill") == 0 && given == 3) fill(argv[1], argv[2]);
    else return 2;
    return 0;
}
