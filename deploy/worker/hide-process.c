/*
 * Loaded into the worker's Node before it starts. Its environment holds the password for the broker, and what runs as
 * the same user, as jobs do, could read it in /proc. The kernel hides what is not "dumpable"; Node cannot ask for that.
 */
#include <sys/prctl.h>

__attribute__((constructor)) static void hide_process(void)
{
    prctl(PR_SET_DUMPABLE, 0);
}
