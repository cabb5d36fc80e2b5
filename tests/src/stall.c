/* Preloaded into a PostgreSQL server: its writes reach the disk only while the file that MEDHOOK_TEST_STALL names is
   absent. As with a disk that has stalled, signals do not end the wait. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void wait_for_the_disk(void)
{
    const char *stalled = getenv("MEDHOOK_TEST_STALL");
    while (stalled && access(stalled, F_OK) == 0)
        usleep(5000);
}

int fsync(int file)
{
    wait_for_the_disk();
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file)
{
    wait_for_the_disk();
    return (int)syscall(SYS_fdatasync, file);
}
