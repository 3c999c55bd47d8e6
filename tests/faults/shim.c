/* An LD_PRELOAD library that makes the operations on files below one folder fail.
 *
 * Operations are counted in three rows, each from 1: the ones that open or change
 * something, the reads, and the syncs (which are among the first too: what comes
 * between two syncs may differ from run to run, so a test that wants a sync counts
 * syncs).  At one number of one row something happens: the process is killed
 * before, after or in the middle, or the call fails.  It
 * can also write every operation to a trace.  Nothing happens until fault_arm();
 * a fork server loads it once and arms it in each child.
 *
 * Memory-mapped writes (SQLite's -shm) and stat() are not seen.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NONE, KILL_BEFORE, KILL_AFTER, SHORT_KILL, SHORT, FAIL, FAIL_AFTER, STICKY, LIST, NO_SYNC };

enum { CHANGES, READS, SYNCS };

#define MAX_FD 65536

static char root[PATH_MAX];
static size_t root_length;
static int armed, mode, code, trace_fd = -1, report_fd = -1;
static int64_t counts[3], at[3];  /* by row */
static int sticky;
static char *names[MAX_FD];
static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(type, name, ...)                                    \
    static type (*real)(__VA_ARGS__);                            \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, name)

static ssize_t raw_write(int fd, const void *data, size_t size) {
    const char *next = data;
    size_t left = size;
    while (left) {
        ssize_t done = syscall(SYS_write, fd, next, left);
        if (done < 0) {
            if (errno == EINTR) continue;
            return -1;
        }
        next += done;
        left -= (size_t)done;
    }
    return (ssize_t)size;
}

/* --- set by the test, through ctypes ------------------------------------------------------ */

void fault_root(const char *path) {
    snprintf(root, sizeof root, "%s", path);
    root_length = strlen(root);
}

/* what, row: of the enums above; number: of the operation in that row (0 for none). */
void fault_arm(int what, int error, int64_t number, int row, int trace, int report) {
    mode = what;
    code = error;
    memset(counts, 0, sizeof counts);
    memset(at, 0, sizeof at);
    at[row] = number;
    trace_fd = trace;
    report_fd = report;
    sticky = 0;
    __atomic_store_n(&armed, 1, __ATOMIC_SEQ_CST);
}

void fault_disarm(void) { __atomic_store_n(&armed, 0, __ATOMIC_SEQ_CST); }
int64_t fault_count(int row) { return counts[row]; }

/* One line of the test's own in the trace: an acknowledgement. */
void fault_note(const char *text) {
    if (trace_fd < 0) return;
    char line[4096];
    int size = snprintf(line, sizeof line, "{\"kind\":\"note\",\"path\":\"%s\"}\n", text);
    raw_write(trace_fd, line, (size_t)size);
}

/* --- which files are ours ----------------------------------------------------------------- */

static int inside(const char *path) {
    return root_length && !strncmp(path, root, root_length) &&
           (path[root_length] == '/' || path[root_length] == 0);
}

/* Write the absolute path into `whole`; tell whether it is below the root. */
static int located(int folder, const char *path, char *whole) {
    if (!path || !root_length) return 0;
    if (path[0] == '/') {
        snprintf(whole, PATH_MAX, "%s", path);
    } else if (folder == AT_FDCWD) {
        char here[PATH_MAX];
        if (syscall(SYS_getcwd, here, sizeof here) < 0) return 0;
        snprintf(whole, PATH_MAX, "%.2047s/%.2047s", here, path);
    } else if (folder >= 0 && folder < MAX_FD && names[folder]) {
        snprintf(whole, PATH_MAX, "%.2047s/%.2047s", names[folder], path);
    } else {
        return 0;
    }
    return inside(whole);
}

static const char *known(int fd) {
    return fd >= 0 && fd < MAX_FD ? names[fd] : NULL;
}

static void remember(int fd, const char *path) {
    if (fd < 0 || fd >= MAX_FD) return;
    free(names[fd]);
    names[fd] = path ? strdup(path) : NULL;
}

/* --- the trace: one JSON line an operation, data in hex ------------------------------------ */

static void trace(const char *kind, const char *path, const char *to, int fd, int64_t offset,
                  const void *data, int64_t size, int64_t result) {
    if (!armed || trace_fd < 0) return;
    int kept = errno;
    size_t bytes = data && size > 0 ? (size_t)size : 0;
    char *line = malloc(2 * bytes + 3 * PATH_MAX);
    int length = sprintf(line,
                         "{\"kind\":\"%s\",\"path\":\"%s\",\"to\":\"%s\",\"fd\":%d,"
                         "\"offset\":%lld,\"size\":%lld,\"result\":%lld,\"data\":\"",
                         kind, path, to ? to : "", fd, (long long)offset, (long long)size,
                         (long long)result);
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes; i++) {
        unsigned char byte = ((const unsigned char *)data)[i];
        line[length++] = digits[byte >> 4];
        line[length++] = digits[byte & 15];
    }
    length += sprintf(line + length, "\"}\n");
    pthread_mutex_lock(&trace_lock);
    raw_write(trace_fd, line, (size_t)length);
    pthread_mutex_unlock(&trace_lock);
    free(line);
    errno = kept;
}

/* --- what happens at an operation ---------------------------------------------------------- */

enum { PASS, REFUSE, DO_THEN_REFUSE, DO_HALF, DO_THEN_DIE, HALF_THEN_DIE, PRETEND };

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

/* Tell the test which operation was hit. */
static void report(const char *kind, const char *path) {
    if (report_fd < 0) return;
    char line[PATH_MAX + 128];
    int size = snprintf(line, sizeof line, "hit %s %s\n", kind, path);
    raw_write(report_fd, line, (size_t)size);
}

/* `grows`: the call takes room on the disk, so a full disk refuses it. */
static int verdict(const char *kind, const char *path, int grows, int is_read) {
    if (!armed) return PASS;
    int row = is_read ? READS : CHANGES;
    int is_sync = !strcmp(kind, "fsync") || !strcmp(kind, "fdatasync");
    int64_t number = __atomic_add_fetch(&counts[row], 1, __ATOMIC_SEQ_CST);
    int hit = number == at[row];
    if (is_sync) hit |= __atomic_add_fetch(&counts[SYNCS], 1, __ATOMIC_SEQ_CST) == at[SYNCS];
    if (mode == LIST) {
        char what[64];
        snprintf(what, sizeof what, "%s %lld %d %s", is_read ? "R" : "W", (long long)number, grows,
                 kind);
        report(what, path);
        return PASS;
    }
    if (mode == NO_SYNC) return is_sync ? PRETEND : PASS;
    if (sticky && grows) {
        errno = ENOSPC;
        return REFUSE;
    }
    if (!hit || mode == NONE) return PASS;
    report(kind, path);
    switch (mode) {
        case KILL_BEFORE: die(); break;
        case KILL_AFTER: return DO_THEN_DIE;
        case SHORT_KILL: return HALF_THEN_DIE;
        case SHORT: return DO_HALF;
        case FAIL: errno = code; return REFUSE;
        case FAIL_AFTER: return DO_THEN_REFUSE;
        case STICKY:
            sticky = 1;
            if (!grows) return PASS;
            errno = ENOSPC;
            return REFUSE;
        default: break;
    }
    return PASS;
}

/* Turn the result of a call that was made into what the caller is told. */
static int64_t outcome(int verdict, int64_t result) {
    if (verdict == DO_THEN_DIE || verdict == HALF_THEN_DIE) die();
    if (verdict == DO_THEN_REFUSE) {
        errno = code;
        return -1;
    }
    return result;
}

/* --- opening and closing ------------------------------------------------------------------- */

static int opened(int folder, const char *path, int flags, mode_t rights) {
    REAL(int, "openat64", int, const char *, int, ...);
    char whole[PATH_MAX];
    if (!located(folder, path, whole)) return real(folder, path, flags, rights);
    int creates = (flags & O_CREAT) && syscall(SYS_faccessat, AT_FDCWD, whole, F_OK) != 0;
    const char *kind = creates ? "create" : "open";
    int v = verdict(kind, whole, creates, 0);
    if (v == REFUSE) return -1;
    int fd = real(folder, path, flags, rights);
    if (fd >= 0) {
        remember(fd, whole);
        trace(creates ? "create" : flags & O_TRUNC ? "truncopen" : "open", whole, NULL, fd,
              flags & O_APPEND ? 1 : 0, NULL, 0, fd);
        if (v == DO_THEN_REFUSE) {
            syscall(SYS_close, fd);
            remember(fd, NULL);
        }
    }
    return (int)outcome(v, fd);
}

#define RIGHTS                            \
    mode_t rights = 0;                    \
    if (flags & (O_CREAT | __O_TMPFILE)) { \
        va_list rest;                     \
        va_start(rest, flags);            \
        rights = va_arg(rest, mode_t);    \
        va_end(rest);                     \
    }

int open(const char *path, int flags, ...) {
    RIGHTS
    return opened(AT_FDCWD, path, flags, rights);
}
int open64(const char *path, int flags, ...) {
    RIGHTS
    return opened(AT_FDCWD, path, flags, rights);
}
int openat(int folder, const char *path, int flags, ...) {
    RIGHTS
    return opened(folder, path, flags, rights);
}
int openat64(int folder, const char *path, int flags, ...) {
    RIGHTS
    return opened(folder, path, flags, rights);
}
int __open_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) { return opened(AT_FDCWD, path, flags, 0); }
int __openat_2(int folder, const char *path, int flags) { return opened(folder, path, flags, 0); }
int __openat64_2(int folder, const char *path, int flags) { return opened(folder, path, flags, 0); }
int creat(const char *path, mode_t rights) {
    return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, rights);
}
int creat64(const char *path, mode_t rights) { return creat(path, rights); }

DIR *opendir(const char *path) {
    REAL(DIR *, "opendir", const char *);
    char whole[PATH_MAX];
    if (located(AT_FDCWD, path, whole)) {
        int v = verdict("opendir", whole, 0, 1);
        if (v == REFUSE || v == DO_THEN_REFUSE) {
            errno = code;
            return NULL;
        }
    }
    return real(path);
}

int close(int fd) {
    REAL(int, "close", int);
    const char *path = known(fd);
    if (!path) return real(fd);
    char held[PATH_MAX];
    snprintf(held, sizeof held, "%s", path);
    int v = verdict("close", held, 0, 0);
    /* Linux gives the number back whatever close() answers. */
    remember(fd, NULL);
    /* Told before: after it, another thread may open and tell of the same number. */
    trace("close", held, NULL, fd, 0, NULL, 0, 0);
    int result = real(fd);
    if (v == REFUSE) {
        errno = code;
        return -1;
    }
    return (int)outcome(v, result);
}

/* --- writing ------------------------------------------------------------------------------- */

static ssize_t written(int fd, const void *data, size_t size, int64_t offset) {
    const char *path = known(fd);
    int v = verdict("write", path, 1, 0);
    if (v == REFUSE) return -1;
    if ((v == DO_HALF || v == HALF_THEN_DIE) && size > 1) size /= 2;
    int64_t place = offset;
    if (offset < 0) {
        int append = (int)syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND;
        place = syscall(SYS_lseek, fd, 0, append ? SEEK_END : SEEK_CUR);
    }
    ssize_t done = offset < 0 ? syscall(SYS_write, fd, data, size)
                              : syscall(SYS_pwrite64, fd, data, size, offset);
    trace("write", path, NULL, fd, place, data, done, done);
    return outcome(v, done);
}

ssize_t write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return known(fd) ? written(fd, data, size, -1) : real(fd, data, size);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    return known(fd) ? written(fd, data, size, offset) : real(fd, data, size, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    return known(fd) ? written(fd, data, size, offset) : real(fd, data, size, offset);
}

static ssize_t gathered(int fd, const struct iovec *parts, int many, int64_t offset) {
    size_t size = 0;
    for (int i = 0; i < many; i++) size += parts[i].iov_len;
    char *whole = malloc(size ? size : 1), *next = whole;
    for (int i = 0; i < many; i++) {
        memcpy(next, parts[i].iov_base, parts[i].iov_len);
        next += parts[i].iov_len;
    }
    ssize_t done = written(fd, whole, size, offset);
    int kept = errno;
    free(whole);
    errno = kept;
    return done;
}
ssize_t writev(int fd, const struct iovec *parts, int many) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    return known(fd) ? gathered(fd, parts, many, -1) : real(fd, parts, many);
}
ssize_t pwritev(int fd, const struct iovec *parts, int many, off_t offset) {
    REAL(ssize_t, "pwritev", int, const struct iovec *, int, off_t);
    return known(fd) ? gathered(fd, parts, many, offset) : real(fd, parts, many, offset);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int many, off64_t offset) {
    return pwritev(fd, parts, many, offset);
}

static int resized(int fd, int64_t size) {
    const char *path = known(fd);
    int v = verdict("ftruncate", path, 1, 0);
    if (v == REFUSE) return -1;
    int result = (int)syscall(SYS_ftruncate, fd, size);
    trace("ftruncate", path, NULL, fd, size, NULL, 0, result);
    return (int)outcome(v, result);
}
int ftruncate(int fd, off_t size) {
    REAL(int, "ftruncate", int, off_t);
    return known(fd) ? resized(fd, size) : real(fd, size);
}
int ftruncate64(int fd, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t);
    return known(fd) ? resized(fd, size) : real(fd, size);
}

static int reserved(int fd, int how, int64_t offset, int64_t size, int posix) {
    const char *path = known(fd);
    int v = verdict("fallocate", path, 1, 0);
    if (v == REFUSE) return posix ? errno : -1;
    int result = (int)syscall(SYS_fallocate, fd, how, offset, size);
    trace("fallocate", path, NULL, fd, offset, NULL, size, result);
    result = (int)outcome(v, result);
    return posix && result ? errno : result;
}
int fallocate(int fd, int how, off_t offset, off_t size) {
    REAL(int, "fallocate", int, int, off_t, off_t);
    return known(fd) ? reserved(fd, how, offset, size, 0) : real(fd, how, offset, size);
}
int fallocate64(int fd, int how, off64_t offset, off64_t size) {
    return fallocate(fd, how, offset, size);
}
int posix_fallocate(int fd, off_t offset, off_t size) {
    REAL(int, "posix_fallocate", int, off_t, off_t);
    return known(fd) ? reserved(fd, 0, offset, size, 1) : real(fd, offset, size);
}
int posix_fallocate64(int fd, off64_t offset, off64_t size) {
    return posix_fallocate(fd, offset, size);
}

/* --- syncing ------------------------------------------------------------------------------- */

static int synced(int fd, int number, const char *kind) {
    const char *path = known(fd);
    int v = verdict(kind, path, 0, 0);
    if (v == PRETEND) return 0;
    int result = v == REFUSE ? -1 : (int)syscall(number, fd);
    trace(kind, path, NULL, fd, 0, NULL, 0, v == REFUSE || v == DO_THEN_REFUSE ? -1 : result);
    return v == REFUSE ? -1 : (int)outcome(v, result);
}
int fsync(int fd) {
    REAL(int, "fsync", int);
    return known(fd) ? synced(fd, SYS_fsync, "fsync") : real(fd);
}
int fdatasync(int fd) {
    REAL(int, "fdatasync", int);
    return known(fd) ? synced(fd, SYS_fdatasync, "fdatasync") : real(fd);
}
int sync_file_range(int fd, off64_t offset, off64_t size, unsigned flags) {
    REAL(int, "sync_file_range", int, off64_t, off64_t, unsigned);
    if (!known(fd)) return real(fd, offset, size, flags);
    int v = verdict("sync_file_range", known(fd), 0, 0);
    if (v == REFUSE) return -1;
    /* It promises nothing after a power cut, so the trace leaves it out. */
    return (int)outcome(v, real(fd, offset, size, flags));
}

/* --- names --------------------------------------------------------------------------------- */

static int moved(const char *kind, int number, int from_folder, const char *from, int to_folder,
                 const char *to, unsigned flags) {
    char source[PATH_MAX] = "", target[PATH_MAX] = "";
    int ours = located(from_folder, from, source);
    ours |= located(to_folder, to, target);
    int v = ours ? verdict(kind, target, 1, 0) : PASS;
    if (v == REFUSE) return -1;
    int result = (int)syscall(number, from_folder, from, to_folder, to, flags);
    if (ours && result == 0) {
        if (number == SYS_renameat2)
            for (int fd = 0; fd < MAX_FD; fd++)
                if (names[fd] && !strcmp(names[fd], source)) remember(fd, target);
        trace(kind, source, target, -1, 0, NULL, 0, result);
    }
    return (int)outcome(v, result);
}
int rename(const char *from, const char *to) {
    return moved("rename", SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
int renameat(int a, const char *from, int b, const char *to) {
    return moved("rename", SYS_renameat2, a, from, b, to, 0);
}
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    return moved("rename", SYS_renameat2, a, from, b, to, flags);
}
int link(const char *from, const char *to) {
    return moved("link", SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}
int linkat(int a, const char *from, int b, const char *to, int flags) {
    return moved("link", SYS_linkat, a, from, b, to, (unsigned)flags);
}

static int removed(int folder, const char *path, int flags) {
    char whole[PATH_MAX];
    int ours = located(folder, path, whole);
    const char *kind = flags & AT_REMOVEDIR ? "rmdir" : "unlink";
    int v = ours ? verdict(kind, whole, 0, 0) : PASS;
    if (v == REFUSE) return -1;
    int result = (int)syscall(SYS_unlinkat, folder, path, flags);
    if (ours && result == 0) trace(kind, whole, NULL, -1, 0, NULL, 0, result);
    return (int)outcome(v, result);
}
int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return removed(folder, path, flags); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }

static int made(int folder, const char *path, mode_t rights) {
    char whole[PATH_MAX];
    int ours = located(folder, path, whole);
    int v = ours ? verdict("mkdir", whole, 1, 0) : PASS;
    if (v == REFUSE) return -1;
    int result = (int)syscall(SYS_mkdirat, folder, path, rights);
    if (ours && result == 0) trace("mkdir", whole, NULL, -1, 0, NULL, 0, result);
    return (int)outcome(v, result);
}
int mkdir(const char *path, mode_t rights) { return made(AT_FDCWD, path, rights); }
int mkdirat(int folder, const char *path, mode_t rights) { return made(folder, path, rights); }

/* --- reading ------------------------------------------------------------------------------- */

static int read_refused(int fd) {
    int v = verdict("read", known(fd), 0, 1);
    if (v == PASS) return 0;
    errno = code;
    return 1;
}
ssize_t read(int fd, void *data, size_t size) {
    REAL(ssize_t, "read", int, void *, size_t);
    return known(fd) && read_refused(fd) ? -1 : real(fd, data, size);
}
ssize_t pread(int fd, void *data, size_t size, off_t offset) {
    REAL(ssize_t, "pread", int, void *, size_t, off_t);
    return known(fd) && read_refused(fd) ? -1 : real(fd, data, size, offset);
}
ssize_t pread64(int fd, void *data, size_t size, off64_t offset) {
    REAL(ssize_t, "pread64", int, void *, size_t, off64_t);
    return known(fd) && read_refused(fd) ? -1 : real(fd, data, size, offset);
}
