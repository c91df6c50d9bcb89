/*
 * cut FILE [kept]: tries to cut the file in every way there is, writing it anew before each, and prints those that did;
 * with "kept" after it has left itself none but those that open the file for writing.
 */
#include "../../apps/worker/launcher/seccomp.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *file;

static void write_file(void)
{
    int fd = open(file, O_WRONLY | O_CREAT, 0600);
    if (fd < 0 || write(fd, "whole", 5) != 5) _exit(2);
    close(fd);
}

static void told(const char *way)
{
    struct stat status;
    if (stat(file, &status) == 0 && status.st_size == 0) puts(way);
    write_file();
}

static void by_flags(const char *name, int flags)
{
    char way[64];
    struct open_how how = { .flags = (uint64_t)flags };
    snprintf(way, sizeof way, "openat %s", name);
    syscall(SYS_openat, AT_FDCWD, file, flags, 0);
    told(way);
    snprintf(way, sizeof way, "openat2 %s", name);
    syscall(SYS_openat2, AT_FDCWD, file, &how, sizeof how);
    told(way);
#ifdef SYS_open
    snprintf(way, sizeof way, "open %s", name);
    syscall(SYS_open, file, flags, 0);
    told(way);
#endif
}

#ifdef __x86_64__
static void call_32(long number, long one, long two, long three, long four)
{
    __asm__ volatile("int $0x80" : "+a"(number) : "b"(one), "c"(two), "d"(three), "S"(four) : "memory", "r8", "r9", "r10", "r11");
}

static void by_32_bits(void)
{
    char *low = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    struct open_how *how = (struct open_how *)(low + 4096);
    if (low == MAP_FAILED) _exit(2);
    snprintf(low, 4096, "%s", file);
    call_32(92, (long)low, 0, 0, 0);
    told("truncate of 32 bits");
    call_32(193, (long)low, 0, 0, 0);
    told("truncate64 of 32 bits");
    call_32(5, (long)low, O_RDONLY | O_TRUNC, 0, 0);
    told("open of 32 bits");
    call_32(295, AT_FDCWD, (long)low, O_RDONLY | O_TRUNC, 0);
    told("openat of 32 bits");
    how->flags = O_RDONLY | O_TRUNC;
    call_32(437, AT_FDCWD, (long)low, (long)how, sizeof *how);
    told("openat2 of 32 bits");
}
#endif

int main(int count, char **arguments)
{
    if (count < 2) return 2;
    file = arguments[1];
    write_file();
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (count > 2 && strcmp(arguments[2], "kept") == 0 && !close_cutting()) return 3;

    syscall(SYS_truncate, file, 0);
    told("truncate");
    by_flags("to read", O_RDONLY | O_TRUNC);
    by_flags("for neither", O_ACCMODE | O_TRUNC);
#ifdef __x86_64__
    /* In a process that may die of it: not every kernel takes calls of 32 bits. */
    fflush(stdout);
    if (fork() == 0) {
        by_32_bits();
        return 0;
    }
    wait(NULL);
#endif
    int fd = open(file, O_RDWR | O_TRUNC);
    told("opened for writing");
    if (ftruncate(fd, 0) != 0) return 4;
    told("opened for writing, ftruncate");
    fd = open(file, O_RDONLY);
    char text[8];
    if (read(fd, text, sizeof text) == 5) puts("read");
    return 0;
}
