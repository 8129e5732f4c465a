/*
 * For LD_PRELOAD before libfaketime, where the suite runs with the clock a year ahead (make test AHEAD=1).
 *
 * libfaketime is told to fake the time of day alone (FAKETIME_DONT_FAKE_MONOTONIC): with a faked
 * CLOCK_MONOTONIC, waits to which it does not do the same (sem_clockwait, behind threading's) take a year.
 * But from the absolute time of clock_nanosleep it subtracts its offset whichever clock is asked, so that
 * Python's time.sleep, which waits until a time of CLOCK_MONOTONIC, fails with EINVAL. This function passes
 * the call to the kernel as it is. Nothing here sleeps until a time of CLOCK_REALTIME, whose absolute
 * times would have to be translated: such a call is refused, so that one is noticed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left)
{
    if (clock == CLOCK_REALTIME && (flags & TIMER_ABSTIME))
        return ENOTSUP;
    /* syscall() reports in errno; clock_nanosleep returns the error, and leaves errno alone. */
    int before = errno;
    int error = syscall(SYS_clock_nanosleep, clock, flags, time, left) == 0 ? 0 : errno;
    errno = before;
    return error;
}
