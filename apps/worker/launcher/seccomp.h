#ifndef LABHAND_SECCOMP_H
#define LABHAND_SECCOMP_H

#include <stdbool.h>

/* Denies this process and all that it starts, with EPERM, what no job needs of the kernel. Needs no_new_privs. */
bool close_kernel_surfaces(void);
/* Leaves this process, and all that it starts, no socket but those of the machine itself (AF_UNIX): EACCES. */
bool close_network(void);
/* Leaves this process, and all that it starts, no way to cut a file that it has not opened for writing: EACCES. */
bool close_cutting(void);

#endif
