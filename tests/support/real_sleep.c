/*
 * For LD_PRELOAD before libfaketime, where the suite runs with the clock a year ahead (make test AHEAD=1).
 *
 * libfaketime is told to fake the time of day alone (FAKETIME_DONT_FAKE_MONOTONIC): with a faked
 * CLOCK_MONOTONIC, waits to which it does not do the same (sem_clockwait, behind threading's) take a year.
 * But from the absolute times of two waits it subtracts its offset whichever clock is asked. These functions
 * pass such a call to the kernel, or to the C library, as it is:
 * - clock_nanosleep: Python's time.sleep, which waits until a time of CLOCK_MONOTONIC, fails with EINVAL.
 *   Nothing here sleeps until a time of CLOCK_REALTIME, whose absolute times would have to be translated: such
 *   a call is refused, so that one is noticed.
 * - pthread_cond_timedwait: a thread that waits for Python's interpreter lock is told at once that its time
 *   is over, and asks again and again, which took a broker of two threads half a second of CPU time at its
 *   start. A condition does not say its clock, but the time does: a machine is not up for thirty years.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define UPTIME_MAX_S 1000000000

typedef int timedwait(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

static timedwait *unfaked, *faked;

__attribute__((constructor)) static void find_functions(void)
{
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    unfaked = libc ? (timedwait *)dlsym(libc, "pthread_cond_timedwait") : NULL;
    faked = (timedwait *)dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    if (!unfaked || !faked)
        abort();
}

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *time)
{
    return (time->tv_sec < UPTIME_MAX_S ? unfaked : faked)(cond, mutex, time);
}

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
