/*
 * For LD_PRELOAD: fdatasync fails with EIO while the file named by FAILING_SYNC exists. The process
 * is the real one, on a disk whose failure it cannot foresee.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd)
{
    const char *sign = getenv("FAILING_SYNC");
    if (sign != NULL && access(sign, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    return (int) syscall(SYS_fdatasync, fd);
}
