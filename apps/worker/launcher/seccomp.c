#include "seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* One for each machine whose programs this kernel runs: the numbers of the calls differ. */
struct machine {
    uint32_t audit;
    int denied[24]; /* 0 ends it; no call of ours has that number */
    int socket, socketcall;
    int truncate, truncate64, open, openat; /* 0: it has none */
};

/* What every machine numbers alike: asynchronous calls that no filter sees, and an open whose flags none can read. */
#define IO_URING 425, 426, 427
#define OPENAT2 437

static const struct machine machines[] = {
#if defined(__x86_64__)
    { AUDIT_ARCH_X86_64,
      { IO_URING, SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_add_key, SYS_request_key, SYS_keyctl, SYS_kexec_load,
        SYS_kexec_file_load, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_open_by_handle_at, SYS_swapon,
        SYS_swapoff, SYS_reboot, SYS_acct, SYS_quotactl, SYS_iopl, SYS_ioperm, SYS_syslog },
      SYS_socket, 0, SYS_truncate, 0, SYS_open, SYS_openat },
    /* Programs of 32 bits, by the numbers of <asm/unistd_32.h>. Its old socketcall hides from a filter what it asks for. */
    { AUDIT_ARCH_I386,
      { IO_URING, 357, 336, 374, 286, 287, 288, 283, 128, 350, 129, 342, 87, 115, 88, 51, 131, 110, 101, 103 },
      359, 102, 92, 193, 5, 295 },
#elif defined(__aarch64__)
    { AUDIT_ARCH_AARCH64,
      { IO_URING, SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_add_key, SYS_request_key, SYS_keyctl, SYS_kexec_load,
        SYS_kexec_file_load, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_open_by_handle_at, SYS_swapon,
        SYS_swapoff, SYS_reboot, SYS_acct, SYS_quotactl, SYS_syslog },
      SYS_socket, 0, SYS_truncate, 0, 0, SYS_openat },
#endif
    { 0, { 0 }, 0, 0, 0, 0, 0, 0 },
};

/* Calls of x86_64's third kind, with addresses of 32 bits, have this bit. */
#define X32 0x40000000

struct program {
    struct sock_filter code[128];
    unsigned short length;
};

static void put(struct program *to, int code, uint32_t value, int if_true, int if_false)
{
    to->code[to->length++] = (struct sock_filter){ (uint16_t)code, (uint8_t)if_true, (uint8_t)if_false, value };
}

static void load(struct program *to, size_t offset)
{
    put(to, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void end(struct program *to, uint32_t with)
{
    put(to, BPF_RET | BPF_K, with, 0, 0);
}

static void deny(struct program *to, int call, int error)
{
    put(to, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 1);
    end(to, SECCOMP_RET_ERRNO | (uint32_t)error);
}

static void deny_surfaces(struct program *to, const struct machine *machine)
{
    for (const int *call = machine->denied; *call; call++) deny(to, *call, EPERM);
}

static void deny_sockets(struct program *to, const struct machine *machine)
{
    if (machine->socketcall) deny(to, machine->socketcall, EACCES);
    put(to, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)machine->socket, 0, 3);
    /* The lower half on these machines, which are all little endian. */
    load(to, offsetof(struct seccomp_data, args[0]));
    put(to, BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 1, 0);
    end(to, SECCOMP_RET_ERRNO | EACCES);
}

/* To be opened for writing is for other rules to forbid: these cut a file without it. */
static void deny_cutting_open(struct program *to, int call, int flags)
{
    put(to, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, 6);
    load(to, offsetof(struct seccomp_data, args[flags]));
    put(to, BPF_ALU | BPF_AND | BPF_K, O_TRUNC | O_ACCMODE, 0, 0);
    put(to, BPF_JMP | BPF_JEQ | BPF_K, O_TRUNC | O_RDONLY, 1, 0);
    put(to, BPF_JMP | BPF_JEQ | BPF_K, O_TRUNC | O_ACCMODE, 0, 1);
    end(to, SECCOMP_RET_ERRNO | EACCES);
    end(to, SECCOMP_RET_ALLOW);
}

static void deny_cutting(struct program *to, const struct machine *machine)
{
    /* ENOSYS: then programs use the one whose flags can be seen. */
    deny(to, OPENAT2, ENOSYS);
    deny(to, machine->truncate, EACCES);
    if (machine->truncate64) deny(to, machine->truncate64, EACCES);
    if (machine->open) deny_cutting_open(to, machine->open, 1);
    deny_cutting_open(to, machine->openat, 2);
}

/* A program of another machine, or on a machine that is not listed, gets ENOSYS for everything. */
static bool filter(void (*rules)(struct program *, const struct machine *))
{
    struct program program = { .length = 0 };
    for (const struct machine *machine = machines; machine->audit; machine++) {
        load(&program, offsetof(struct seccomp_data, arch));
        struct sock_filter *other = &program.code[program.length + 1];
        put(&program, BPF_JMP | BPF_JEQ | BPF_K, machine->audit, 1, 0);
        put(&program, BPF_JMP | BPF_JA, 0, 0, 0);
        load(&program, offsetof(struct seccomp_data, nr));
        if (machine->audit == AUDIT_ARCH_X86_64) {
            put(&program, BPF_JMP | BPF_JGE | BPF_K, X32, 0, 1);
            end(&program, SECCOMP_RET_ERRNO | ENOSYS);
        }
        rules(&program, machine);
        end(&program, SECCOMP_RET_ALLOW);
        other->k = (uint32_t)(&program.code[program.length] - other - 1);
    }
    end(&program, SECCOMP_RET_ERRNO | ENOSYS);
    struct sock_fprog filter = { program.length, program.code };
    if (machines[0].audit == 0) {
        errno = ENOSYS;
        return false;
    }
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

bool close_kernel_surfaces(void)
{
    return filter(deny_surfaces);
}

bool close_network(void)
{
    return filter(deny_sockets);
}

bool close_cutting(void)
{
    return filter(deny_cutting);
}
