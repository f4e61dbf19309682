/*
 * Preloaded into a program under test (LD_PRELOAD), to make the disk fail or the machine die at a chosen step. What it is
 * to do stands in a file of 1 KiB that it shares with the test (faults.ts), and may be changed while the program runs.
 * Only calls on files below TORTURE_ROOTS count; only the programs named in `is_target` are touched, not what they start.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* In the order of OPERATIONS in faults.ts. */
enum operation { RENAME, SYNC, UNLINK, LINK, WRITE, CREATE, TRUNCATE, METADATA, OPEN, READ, SYNCFS, OPERATIONS };
enum action { KILL, CUT_POWER };

/* In the order of the slots in faults.ts; numbers of 64 bits. */
struct control {
  int64_t steps, step_mask, stop_at, action, fail_mask, fail_errno, fail_after, fail_count, failed, clock_offset_ns;
  int64_t unused[6];
  int64_t counts[16];
  int64_t unused_too[32];
  char filter[256];
  char unused_still[256];
};

/* EXT4_IOC_SHUTDOWN, and EXT4_GOING_FLAGS_NOLOGFLUSH: what is not on the disk is lost. */
#define SHUTDOWN_IOCTL 0x8004587DUL
#define NO_LOG_FLUSH 2
#define MAX_PATH 8192

static struct control *control;
static const char *roots;

static int is_target(void) {
  char exe[MAX_PATH];
  ssize_t length = readlink("/proc/self/exe", exe, sizeof exe - 1);
  if (length <= 0) return 0;
  exe[length] = 0;
  const char *name = strrchr(exe, '/');
  return name != NULL && (strcmp(name, "/node") == 0 || strcmp(name, "/sync") == 0);
}

__attribute__((constructor)) static void begin(void) {
  const char *file = getenv("TORTURE_CONTROL");
  roots = getenv("TORTURE_ROOTS");
  if (file == NULL || roots == NULL || !is_target()) return;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *shared = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  syscall(SYS_close, fd);
  if (shared != MAP_FAILED) control = shared;
}

/* /proc/self/fd/N, /proc/PID/fd/N or, with that as working directory, N: where the rest begins behind the number; NULL for other paths. */
static const char *behind_descriptor(const char *path) {
  size_t digits = strspn(path, "0123456789");
  if (digits > 0 && (path[digits] == '/' || path[digits] == 0)) return path + digits;
  if (strncmp(path, "/proc/", 6) != 0) return NULL;
  const char *fd = strstr(path, "/fd/");
  if (fd == NULL || memchr(path + 6, '/', (size_t)(fd - path) - 6) != NULL) return NULL;
  return strchrnul(fd + 4, '/');
}

/* Paths that begin at a descriptor hide where they lead. */
static int resolved(const char *path, char *out) {
  const char *rest = behind_descriptor(path);
  if (rest == NULL) {
    if (path[0] != '/' || strlen(path) >= MAX_PATH) return 0;
    strcpy(out, path);
    return 1;
  }
  char link[64];
  size_t length = (size_t)(rest - path);
  if (length >= sizeof link || strlen(rest) >= 512) return 0;
  memcpy(link, path, length);
  link[length] = 0;
  ssize_t target = readlink(link, out, MAX_PATH - 512);
  if (target <= 0) return 0;
  strcpy(out + target, rest);
  return 1;
}

static int concerns(const char *path) {
  char full[MAX_PATH];
  if (control == NULL || !resolved(path, full)) return 0;
  if (control->filter[0] != 0 && strstr(full, control->filter) == NULL) return 0;
  for (const char *root = roots; root != NULL && *root != 0;) {
    const char *end = strchrnul(root, ':');
    size_t length = (size_t)(end - root);
    if (strncmp(full, root, length) == 0 && (full[length] == '/' || full[length] == 0)) return 1;
    root = *end == 0 ? end : end + 1;
  }
  return 0;
}

static int concerns_fd(int fd) {
  char link[32];
  if (control == NULL) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  return concerns(link);
}

static void cut_power(void) {
  char root[MAX_PATH];
  size_t length = (size_t)(strchrnul(roots, ':') - roots);
  if (length >= sizeof root) return;
  memcpy(root, roots, length);
  root[length] = 0;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, root, O_RDONLY | O_CLOEXEC);
  uint32_t flags = NO_LOG_FLUSH;
  if (fd >= 0) ioctl(fd, SHUTDOWN_IOCTL, &flags);
}

/* Counts a call; may not return. Returns the errno that the call is to fail with, or 0; -1: half a write, no sync at all. */
static int step(enum operation operation) {
  __atomic_add_fetch(&control->counts[operation], 1, __ATOMIC_SEQ_CST);
  if ((control->step_mask & (1 << operation)) != 0) {
    int64_t number = __atomic_add_fetch(&control->steps, 1, __ATOMIC_SEQ_CST);
    if (control->stop_at > 0 && number >= control->stop_at) {
      if (control->action == CUT_POWER) cut_power();
      kill(getpid(), SIGKILL);
      for (;;) pause();
    }
  }
  if ((control->fail_mask & (1 << operation)) == 0) return 0;
  if (__atomic_fetch_sub(&control->fail_after, 1, __ATOMIC_SEQ_CST) > 0) return 0;
  if (control->fail_count >= 0 && __atomic_fetch_sub(&control->fail_count, 1, __ATOMIC_SEQ_CST) <= 0) {
    control->fail_count = 0;
    return 0;
  }
  __atomic_add_fetch(&control->failed, 1, __ATOMIC_SEQ_CST);
  return control->fail_errno == 0 ? -1 : (int)control->fail_errno;
}

#define NEXT(name) \
  static __typeof__(&name) next; \
  if (next == NULL) next = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

/* For calls that cannot be done by half. */
#define FAIL_IF(condition, operation) \
  if (condition) { \
    int error = step(operation); \
    if (error > 0) { \
      errno = error; \
      return -1; \
    } \
  }

/* A disk may also say that it is done and not be. */
#define SYNCING(operation, call) \
  if (concerns_fd(fd)) { \
    int error = step(operation); \
    if (error > 0) { \
      errno = error; \
      return -1; \
    } \
    if (error < 0) return 0; \
  } \
  return call

int rename(const char *from, const char *to) {
  NEXT(rename);
  FAIL_IF(concerns(from) || concerns(to), RENAME);
  return next(from, to);
}

int fsync(int fd) {
  NEXT(fsync);
  SYNCING(SYNC, next(fd));
}

int fdatasync(int fd) {
  NEXT(fdatasync);
  SYNCING(SYNC, next(fd));
}

int syncfs(int fd) {
  NEXT(syncfs);
  SYNCING(SYNCFS, next(fd));
}

int unlink(const char *path) {
  NEXT(unlink);
  FAIL_IF(concerns(path), UNLINK);
  return next(path);
}

int rmdir(const char *path) {
  NEXT(rmdir);
  FAIL_IF(concerns(path), UNLINK);
  return next(path);
}

int link(const char *from, const char *to) {
  NEXT(link);
  FAIL_IF(concerns(from) || concerns(to), LINK);
  return next(from, to);
}

int symlink(const char *target, const char *path) {
  NEXT(symlink);
  FAIL_IF(concerns(path), CREATE);
  return next(target, path);
}

int mkdir(const char *path, mode_t mode) {
  NEXT(mkdir);
  FAIL_IF(concerns(path), CREATE);
  return next(path, mode);
}

int ftruncate64(int fd, off64_t length) {
  NEXT(ftruncate64);
  FAIL_IF(concerns_fd(fd), TRUNCATE);
  return next(fd, length);
}

int ftruncate(int fd, off_t length) {
  return ftruncate64(fd, length);
}

int fchmod(int fd, mode_t mode) {
  NEXT(fchmod);
  FAIL_IF(concerns_fd(fd), METADATA);
  return next(fd, mode);
}

int chmod(const char *path, mode_t mode) {
  NEXT(chmod);
  FAIL_IF(concerns(path), METADATA);
  return next(path, mode);
}

int futimens(int fd, const struct timespec times[2]) {
  NEXT(futimens);
  FAIL_IF(concerns_fd(fd), METADATA);
  return next(fd, times);
}

int utimensat(int directory, const char *path, const struct timespec times[2], int flags) {
  NEXT(utimensat);
  FAIL_IF(concerns(path), METADATA);
  return next(directory, path, times, flags);
}

/* A new file is a step; opening one that is there can only fail. */
#define OPENING(name) \
  int name(const char *path, int flags, ...) { \
    NEXT(name); \
    mode_t mode = 0; \
    if ((flags & (O_CREAT | O_TMPFILE)) != 0) { \
      va_list rest; \
      va_start(rest, flags); \
      mode = va_arg(rest, mode_t); \
      va_end(rest); \
    } \
    FAIL_IF(concerns(path), (flags & O_CREAT) != 0 ? CREATE : OPEN); \
    return next(path, flags, mode); \
  }

OPENING(open)
OPENING(open64)

/* Half of a write, as the kernel may do it. */
#define WRITING(length, call, shorter) \
  if (concerns_fd(fd)) { \
    int error = step(WRITE); \
    if (error > 0) { \
      errno = error; \
      return -1; \
    } \
    if (error < 0 && (length) > 1) return shorter; \
  } \
  return call

ssize_t write(int fd, const void *data, size_t length) {
  NEXT(write);
  WRITING(length, next(fd, data, length), next(fd, data, length / 2));
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) {
  NEXT(pwrite64);
  WRITING(length, next(fd, data, length, offset), next(fd, data, length / 2, offset));
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
  NEXT(writev);
  WRITING(count, next(fd, parts, count), next(fd, parts, count / 2));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
  NEXT(pwritev64);
  WRITING(count, next(fd, parts, count, offset), next(fd, parts, count / 2, offset));
}

ssize_t read(int fd, void *data, size_t length) {
  NEXT(read);
  if (concerns_fd(fd)) {
    int error = step(READ);
    if (error > 0) {
      errno = error;
      return -1;
    }
    if (error < 0 && length > 1) length /= 2;
  }
  return next(fd, data, length);
}

ssize_t pread64(int fd, void *data, size_t length, off64_t offset) {
  NEXT(pread64);
  if (concerns_fd(fd)) {
    int error = step(READ);
    if (error > 0) {
      errno = error;
      return -1;
    }
    if (error < 0 && length > 1) length /= 2;
  }
  return next(fd, data, length, offset);
}

/* Times of the wall only: timers are to be monotonic. */
int clock_gettime(clockid_t clock, struct timespec *time) {
  NEXT(clock_gettime);
  int result = next(clock, time);
  if (result != 0 || control == NULL || control->clock_offset_ns == 0) return result;
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return result;
  int64_t ns = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec + control->clock_offset_ns;
  time->tv_sec = ns / 1000000000;
  time->tv_nsec = ns % 1000000000;
  return result;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
  (void)zone;
  struct timespec now;
  int result = clock_gettime(CLOCK_REALTIME, &now);
  if (result == 0) {
    time->tv_sec = now.tv_sec;
    time->tv_usec = now.tv_nsec / 1000;
  }
  return result;
}

time_t time(time_t *out) {
  struct timespec now;
  if (clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
  if (out != NULL) *out = now.tv_sec;
  return now.tv_sec;
}
