/*
 * For LD_PRELOAD: whatever syncs fails with EIO while the file named by FAILING_SYNC exists: fdatasync,
 * and a write that is to be durable when it returns. The process is the real one, on a disk whose
 * failure it cannot foresee.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int failing(void)
{
    const char *sign = getenv("FAILING_SYNC");
    if (sign == NULL || access(sign, F_OK) != 0)
        return 0;
    errno = EIO;
    return 1;
}

int fdatasync(int fd)
{
    return failing() ? -1 : (int) syscall(SYS_fdatasync, fd);
}

static ssize_t write_pieces(int fd, const struct iovec *pieces, int count, off_t offset, int flags)
{
    if ((flags & RWF_DSYNC) && failing())
        return -1;
    return syscall(SYS_pwritev2, fd, pieces, count, offset, 0L, flags);
}

/* The two names that the C library has for the same. */
ssize_t pwritev2(int fd, const struct iovec *pieces, int count, off_t offset, int flags)
{
    return write_pieces(fd, pieces, count, offset, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec *pieces, int count, off64_t offset, int flags)
{
    return write_pieces(fd, pieces, count, offset, flags);
}
