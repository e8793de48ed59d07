/* Loaded before libc by LD_PRELOAD: counts the operations that change files below one folder, and waits, dawdles or
 * lies about the time when the board says so. The board is a file in memory that the processes of a moment share with
 * the program that disturbs them; benchmarks/chaos/board.py is its other side.
 *
 * An operation that waits has not happened yet. It goes on when the board no longer names its process.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define NANO 1000000000LL

struct board {
    int64_t operations, stop_at, waiting, clock_ns, delay_us;
    char what[472];
};

static struct board *board;
static char root[PATH_MAX];
static size_t root_length;

__attribute__((constructor)) static void load(void) {
    const char *file = getenv("CHAOS_BOARD"), *folder = getenv("CHAOS_FOLDER");
    int descriptor = file && folder ? open(file, O_RDWR | O_CLOEXEC) : -1;
    if (descriptor < 0) return;
    snprintf(root, sizeof root, "%s", folder);
    root_length = strlen(root);
    void *page = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (page != MAP_FAILED) board = page;
}

static void count(const char *name, const char *path) {
    int64_t number = __atomic_add_fetch(&board->operations, 1, __ATOMIC_SEQ_CST);
    int64_t stop_at = __atomic_load_n(&board->stop_at, __ATOMIC_SEQ_CST);
    if (board->delay_us) usleep(board->delay_us);
    if (!stop_at || number < stop_at) return;
    if (!__atomic_compare_exchange_n(&board->stop_at, &stop_at, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return;
    snprintf(board->what, sizeof board->what, "%s %s", name, path + root_length + 1);
    __atomic_store_n(&board->waiting, getpid(), __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&board->waiting, __ATOMIC_SEQ_CST) == getpid()) usleep(500);
}

static int is_below(const char *path) { return !strncmp(path, root, root_length) && path[root_length] == '/'; }

static void on_descriptor(const char *name, int descriptor) {
    char link[64], path[PATH_MAX];
    if (!board) return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return;
    path[length] = 0;
    if (is_below(path)) count(name, path);
}

static void on_path(const char *name, int folder, const char *path) {
    char link[64], whole[2 * PATH_MAX];
    if (!board || !path) return;
    if (*path == '/') {
        if (is_below(path)) count(name, path);
        return;
    }
    if (folder == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, whole, PATH_MAX);
    if (length <= 0) return;
    snprintf(whole + length, sizeof whole - length, "/%s", path);
    if (is_below(whole)) count(name, whole);
}

/* The function of libc that the one of this name stands in front of. */
#define NEXT(type, name, ...) \
    static type (*next)(__VA_ARGS__); \
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, #name)

#define TYPES(...) __VA_ARGS__

#define OPEN(name, folder, parameters, types, ...) \
    int name parameters { \
        NEXT(int, name, types); \
        mode_t mode = 0; \
        if (flags & (O_CREAT | O_TMPFILE)) { \
            __builtin_va_list more; \
            __builtin_va_start(more, flags); \
            mode = __builtin_va_arg(more, mode_t); \
            __builtin_va_end(more); \
        } \
        if (flags & (O_CREAT | O_TRUNC)) on_path("open", folder, path); \
        return next(__VA_ARGS__, mode); \
    }
OPEN(open, AT_FDCWD, (const char *path, int flags, ...), TYPES(const char *, int, ...), path, flags)
OPEN(open64, AT_FDCWD, (const char *path, int flags, ...), TYPES(const char *, int, ...), path, flags)
OPEN(openat, at, (int at, const char *path, int flags, ...), TYPES(int, const char *, int, ...), at, path, flags)
OPEN(openat64, at, (int at, const char *path, int flags, ...), TYPES(int, const char *, int, ...), at, path, flags)

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        NEXT(FILE *, name, const char *, const char *); \
        if (*mode != 'r') on_path("open", AT_FDCWD, path); \
        return next(path, mode); \
    }
FOPEN(fopen)
FOPEN(fopen64)

#define ON_DESCRIPTOR(type, name, parameters, types, arguments) \
    type name parameters { \
        NEXT(type, name, types); \
        on_descriptor(#name, file); \
        return next arguments; \
    }
ON_DESCRIPTOR(ssize_t, write, (int file, const void *data, size_t size), TYPES(int, const void *, size_t), (file, data, size))
ON_DESCRIPTOR(ssize_t, writev, (int file, const struct iovec *data, int parts), TYPES(int, const struct iovec *, int), (file, data, parts))
ON_DESCRIPTOR(int, fsync, (int file), int, (file))
ON_DESCRIPTOR(int, fdatasync, (int file), int, (file))

#define ON_PATH(name, folder, path, parameters, types, arguments) \
    int name parameters { \
        NEXT(int, name, types); \
        on_path(#name, folder, path); \
        return next arguments; \
    }
ON_PATH(rename, AT_FDCWD, to, (const char *from, const char *to), TYPES(const char *, const char *), (from, to))
ON_PATH(renameat, at, to, (int of, const char *from, int at, const char *to), TYPES(int, const char *, int, const char *), (of, from, at, to))
ON_PATH(link, AT_FDCWD, to, (const char *from, const char *to), TYPES(const char *, const char *), (from, to))
ON_PATH(linkat, at, to, (int of, const char *from, int at, const char *to, int flags), TYPES(int, const char *, int, const char *, int), (of, from, at, to, flags))
ON_PATH(unlink, AT_FDCWD, path, (const char *path), const char *, (path))
ON_PATH(unlinkat, at, path, (int at, const char *path, int flags), TYPES(int, const char *, int), (at, path, flags))
ON_PATH(mkdir, AT_FDCWD, path, (const char *path, mode_t mode), TYPES(const char *, mode_t), (path, mode))
ON_PATH(rmdir, AT_FDCWD, path, (const char *path), const char *, (path))

/* The wall clock jumps; the monotonic clock does not, as on a real machine. */
int clock_gettime(clockid_t clock, struct timespec *now) {
    NEXT(int, clock_gettime, clockid_t, struct timespec *);
    int status = next(clock, now);
    if (!status && board && board->clock_ns && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
        int64_t ns = now->tv_sec * NANO + now->tv_nsec + board->clock_ns;
        now->tv_sec = ns / NANO;
        now->tv_nsec = ns % NANO;
    }
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec time;
    (void)zone;
    int status = clock_gettime(CLOCK_REALTIME, &time);
    now->tv_sec = time.tv_sec;
    now->tv_usec = time.tv_nsec / 1000;
    return status;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}

/* The kernel compares the deadline with the clock that has not jumped. */
int sem_timedwait(sem_t *restrict semaphore, const struct timespec *restrict deadline) {
    NEXT(int, sem_timedwait, sem_t *, const struct timespec *);
    struct timespec until = *deadline;
    if (board) until.tv_sec -= board->clock_ns / NANO;
    return next(semaphore, &until);
}
