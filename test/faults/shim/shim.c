/*
 * Preloaded into the daemon by the fault campaign. For files below HEADGATE_SHIM_ROOT it records every operation
 * that changes the disk, with its data, and plays a slow, full or read-only disk; for the whole process it moves the
 * wall clock. `shim.ts` compiles it and holds the other end: the record layout and the control block stand there too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* glibc and musl differ in the second argument's type; the callers' machine code is the same. */
#undef gettimeofday

enum { KIND_OPEN = 1, KIND_WRITE, KIND_SYNC_BEGIN, KIND_SYNC_END, KIND_TRUNCATE, KIND_RENAME, KIND_UNLINK };
enum { OPEN_CREATED = 1, OPEN_TRUNCATED = 2, OPEN_FOLDER = 4 };
enum { FULL_OFF, FULL_WHEN_GROWING, FULL_ALWAYS };

struct control {
  int64_t wall_offset_ms;
  int32_t sync_delay_ms;
  int32_t full;
  int32_t read_only;
  int32_t syncs; /* counted here, so that a test sees that calls arrive */
};

struct record {
  uint32_t kind, file;
  uint64_t sequence, monotonic_ns, offset;
  uint32_t length, flags;
};

#define MAX_FDS 65536
#define MAX_FILES 8192

static struct control no_control;
static volatile struct control *control = &no_control;
static char root[PATH_MAX];
static size_t root_length;
static int log_fd = -1;
static uint64_t sequence;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* Number of the file behind a descriptor, 0 for those outside the root; and whether it appends. */
static uint32_t file_of[MAX_FDS];
static uint8_t appends[MAX_FDS];
static struct { dev_t device; ino_t inode; int gone; } files[MAX_FILES];
static uint32_t file_count;

static int (*real_clock_gettime)(clockid_t, struct timespec *);

#define REAL(name) \
  static __typeof__(name) *real; \
  if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void begin(void) {
  real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  const char *folder = getenv("HEADGATE_SHIM_ROOT");
  if (folder && strlen(folder) < sizeof root) {
    strcpy(root, folder);
    root_length = strlen(root);
  }
  const char *path = getenv("HEADGATE_SHIM_CONTROL");
  if (path) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    void *at = fd < 0 ? MAP_FAILED : mmap(0, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) {
      perror("headgate shim: mapping HEADGATE_SHIM_CONTROL");
      _exit(70);
    }
    control = at;
    syscall(SYS_close, fd);
  }
  path = getenv("HEADGATE_SHIM_LOG");
  if (path) {
    log_fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) {
      perror("headgate shim: opening HEADGATE_SHIM_LOG");
      _exit(70);
    }
  }
}

/* Called with the lock held, right behind the operation: the order in the log is the order on the disk. */
static uint64_t note(uint32_t kind, uint32_t file, uint64_t offset, uint32_t flags, const void *data, size_t length) {
  struct timespec now;
  uint64_t number = ++sequence;
  if (log_fd < 0) return number;
  syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
  struct record record = {kind, file, number, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec,
                          offset, (uint32_t)length, flags};
  struct iovec parts[2] = {{&record, sizeof record}, {(void *)data, length}};
  size_t total = sizeof record + length;
  if (syscall(SYS_writev, log_fd, parts, length ? 2 : 1) != (long)total) {
    static const char message[] = "headgate shim: the log cannot be written\n";
    syscall(SYS_write, 2, message, sizeof message - 1);
    _exit(70);
  }
  return number;
}

static int is_below(const char *path) {
  return root_length > 0 && strncmp(path, root, root_length) == 0 &&
         (path[root_length] == '/' || path[root_length] == 0);
}

/* Absolute path of what a call names, or NULL when it is none of ours. */
static const char *ours(int folder, const char *path, char *buffer) {
  if (!path || root_length == 0) return NULL;
  if (path[0] == '/') return is_below(path) ? path : NULL;
  char base[PATH_MAX];
  if (folder == AT_FDCWD) {
    if (!getcwd(base, sizeof base)) return NULL;
  } else {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, base, sizeof base - 1);
    if (length < 0) return NULL;
    base[length] = 0;
  }
  if (snprintf(buffer, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return NULL;
  return is_below(buffer) ? buffer : NULL;
}

static uint32_t number_of(const struct stat *s) {
  for (uint32_t i = 0; i < file_count; i++) {
    if (!files[i].gone && files[i].device == s->st_dev && files[i].inode == s->st_ino) return i + 1;
  }
  if (file_count == MAX_FILES) {
    static const char message[] = "headgate shim: too many files\n";
    syscall(SYS_write, 2, message, sizeof message - 1);
    _exit(70);
  }
  files[file_count].device = s->st_dev;
  files[file_count].inode = s->st_ino;
  return ++file_count;
}

/* Its inode may be used again for another file. */
static void forget(const struct stat *s) {
  for (uint32_t i = 0; i < file_count; i++) {
    if (files[i].device == s->st_dev && files[i].inode == s->st_ino) files[i].gone = 1;
  }
}

static int opened(int (*call)(int, const char *, int, mode_t), int folder, const char *path, int flags, mode_t mode) {
  char buffer[PATH_MAX];
  const char *name = ours(folder, path, buffer);
  int saved = errno;
  if (!name) {
    int fd = call(folder, path, flags, mode);
    if (fd >= 0 && fd < MAX_FDS) file_of[fd] = 0;
    return fd;
  }
  pthread_mutex_lock(&lock);
  struct stat before, after;
  int existed = stat(name, &before) == 0;
  int writes = (flags & O_ACCMODE) != O_RDONLY;
  int fd = -1;
  int problem = 0;
  if (control->read_only && (writes || (flags & O_TRUNC) || ((flags & O_CREAT) && !existed))) problem = EROFS;
  else if (control->full == FULL_ALWAYS && (flags & O_CREAT) && !existed) problem = ENOSPC;
  if (problem) {
    errno = problem;
  } else {
    errno = saved;
    fd = call(folder, path, flags, mode);
  }
  saved = errno;
  if (fd >= 0 && fd < MAX_FDS && fstat(fd, &after) == 0) {
    file_of[fd] = 0;
    if (S_ISREG(after.st_mode) || S_ISDIR(after.st_mode)) {
      uint32_t what = 0;
      if (!existed) what |= OPEN_CREATED;
      else if ((flags & O_TRUNC) && before.st_size > 0) what |= OPEN_TRUNCATED;
      if (S_ISDIR(after.st_mode)) what |= OPEN_FOLDER;
      file_of[fd] = number_of(&after);
      appends[fd] = (flags & O_APPEND) != 0;
      note(KIND_OPEN, file_of[fd], 0, what, name, strlen(name));
    }
  }
  pthread_mutex_unlock(&lock);
  errno = saved;
  return fd;
}

static int call_openat(int folder, const char *path, int flags, mode_t mode) {
  REAL(openat);
  return real(folder, path, flags, mode);
}

#define MODE_ARGUMENT \
  mode_t mode = 0; \
  if (flags & (O_CREAT | __O_TMPFILE)) { \
    va_list list; \
    va_start(list, flags); \
    mode = va_arg(list, mode_t); \
    va_end(list); \
  }
#ifndef __O_TMPFILE
#define __O_TMPFILE 0
#endif

int open(const char *path, int flags, ...) {
  MODE_ARGUMENT
  return opened(call_openat, AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  MODE_ARGUMENT
  return opened(call_openat, AT_FDCWD, path, flags | O_LARGEFILE, mode);
}
int openat(int folder, const char *path, int flags, ...) {
  MODE_ARGUMENT
  return opened(call_openat, folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
  MODE_ARGUMENT
  return opened(call_openat, folder, path, flags | O_LARGEFILE, mode);
}
int creat(const char *path, mode_t mode) {
  return opened(call_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
int creat64(const char *path, mode_t mode) {
  return opened(call_openat, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC | O_LARGEFILE, mode);
}

static uint32_t ours_fd(int fd) { return fd >= 0 && fd < MAX_FDS ? file_of[fd] : 0; }

int close(int fd) {
  REAL(close);
  if (fd >= 0 && fd < MAX_FDS) file_of[fd] = 0;
  return real(fd);
}

/* What a disk in this state says to a write up to `end`; 0 when it takes it. */
static int refusal(int fd, uint64_t end) {
  if (control->read_only) return EROFS;
  if (control->full == FULL_ALWAYS) return ENOSPC;
  struct stat s;
  if (control->full == FULL_WHEN_GROWING && fstat(fd, &s) == 0 && end > (uint64_t)s.st_size) return ENOSPC;
  return 0;
}

static ssize_t written(int fd, const struct iovec *parts, int count, off_t at) {
  REAL(pwritev64);
  size_t total = 0;
  for (int i = 0; i < count; i++) total += parts[i].iov_len;
  pthread_mutex_lock(&lock);
  int positional = at >= 0;
  if (!positional) {
    struct stat s;
    at = appends[fd] && fstat(fd, &s) == 0 ? s.st_size : lseek(fd, 0, SEEK_CUR);
    if (at < 0) {
      /* Closed behind our back, by a call that goes past the library, and a socket or pipe since. */
      file_of[fd] = 0;
      pthread_mutex_unlock(&lock);
      return syscall(SYS_writev, fd, parts, count);
    }
  }
  ssize_t result = -1;
  int problem = refusal(fd, (uint64_t)at + total);
  if (problem) errno = problem;
  else result = positional ? real(fd, parts, count, at) : syscall(SYS_writev, fd, parts, count);
  int saved = errno;
  uint64_t offset = (uint64_t)at;
  size_t rest = result > 0 ? (size_t)result : 0;
  for (int i = 0; i < count && rest > 0; i++) {
    size_t length = parts[i].iov_len < rest ? parts[i].iov_len : rest;
    note(KIND_WRITE, file_of[fd], offset, 0, parts[i].iov_base, length);
    offset += length;
    rest -= length;
  }
  pthread_mutex_unlock(&lock);
  errno = saved;
  return result;
}

ssize_t write(int fd, const void *data, size_t length) {
  REAL(write);
  if (!ours_fd(fd)) return real(fd, data, length);
  struct iovec part = {(void *)data, length};
  return written(fd, &part, 1, -1);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL(writev);
  return ours_fd(fd) ? written(fd, parts, count, -1) : real(fd, parts, count);
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t at) {
  REAL(pwrite);
  if (!ours_fd(fd)) return real(fd, data, length, at);
  struct iovec part = {(void *)data, length};
  return written(fd, &part, 1, at);
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) {
  REAL(pwrite64);
  if (!ours_fd(fd)) return real(fd, data, length, at);
  struct iovec part = {(void *)data, length};
  return written(fd, &part, 1, at);
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
  REAL(pwritev);
  return ours_fd(fd) ? written(fd, parts, count, at) : real(fd, parts, count, at);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
  REAL(pwritev64);
  return ours_fd(fd) ? written(fd, parts, count, at) : real(fd, parts, count, at);
}

static int synced(int (*call)(int), int fd) {
  uint32_t file = ours_fd(fd);
  if (!file) return call(fd);
  pthread_mutex_lock(&lock);
  uint64_t begun = note(KIND_SYNC_BEGIN, file, 0, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  int result = call(fd);
  int saved = errno;
  int32_t delay = control->sync_delay_ms;
  if (delay > 0) {
    struct timespec pause = {delay / 1000, (delay % 1000) * 1000000L};
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR) continue;
  }
  pthread_mutex_lock(&lock);
  control->syncs++;
  /* Durable is what stood before the call; what another thread writes meanwhile may be or not. */
  if (result == 0) note(KIND_SYNC_END, file, begun, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  errno = saved;
  return result;
}

int fsync(int fd) {
  REAL(fsync);
  return synced(real, fd);
}
int fdatasync(int fd) {
  REAL(fdatasync);
  return synced(real, fd);
}

static int truncated(int fd, off_t length) {
  REAL(ftruncate64);
  if (!ours_fd(fd)) return real(fd, length);
  pthread_mutex_lock(&lock);
  int result = -1;
  int problem = refusal(fd, (uint64_t)length);
  if (problem) errno = problem;
  else result = real(fd, length);
  int saved = errno;
  if (result == 0) note(KIND_TRUNCATE, file_of[fd], (uint64_t)length, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
  errno = saved;
  return result;
}
int ftruncate(int fd, off_t length) { return truncated(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncated(fd, length); }

static int renamed(int from_folder, const char *from, int to_folder, const char *to) {
  REAL(renameat);
  char from_buffer[PATH_MAX], to_buffer[PATH_MAX], both[2 * PATH_MAX];
  const char *source = ours(from_folder, from, from_buffer);
  const char *target = ours(to_folder, to, to_buffer);
  if (!source && !target) return real(from_folder, from, to_folder, to);
  pthread_mutex_lock(&lock);
  struct stat replaced;
  int replaces = target && lstat(target, &replaced) == 0;
  int result = -1;
  if (control->read_only) errno = EROFS;
  else result = real(from_folder, from, to_folder, to);
  int saved = errno;
  if (result == 0) {
    if (replaces) forget(&replaced);
    /* Into or out of the root is told as it looks from inside: an empty name is outside. */
    size_t length = (size_t)snprintf(both, sizeof both, "%s", source ? source : "") + 1;
    length += (size_t)snprintf(both + length, sizeof both - length, "%s", target ? target : "");
    note(KIND_RENAME, 0, 0, 0, both, length);
  }
  pthread_mutex_unlock(&lock);
  errno = saved;
  return result;
}
int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to); }
int renameat(int from_folder, const char *from, int to_folder, const char *to) {
  return renamed(from_folder, from, to_folder, to);
}

static int unlinked(int folder, const char *path, int flags) {
  REAL(unlinkat);
  char buffer[PATH_MAX];
  const char *name = ours(folder, path, buffer);
  if (!name) return real(folder, path, flags);
  pthread_mutex_lock(&lock);
  struct stat s;
  int known = lstat(name, &s) == 0;
  int result = -1;
  if (control->read_only && known) errno = EROFS;
  else result = real(folder, path, flags);
  int saved = errno;
  if (result == 0) {
    if (known && s.st_nlink <= 1) forget(&s);
    note(KIND_UNLINK, 0, 0, 0, name, strlen(name));
  }
  pthread_mutex_unlock(&lock);
  errno = saved;
  return result;
}
int unlink(const char *path) { return unlinked(AT_FDCWD, path, 0); }
int unlinkat(int folder, const char *path, int flags) { return unlinked(folder, path, flags); }

int clock_gettime(clockid_t clock, struct timespec *now) {
  int result = real_clock_gettime ? real_clock_gettime(clock, now) : (int)syscall(SYS_clock_gettime, clock, now);
  if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
    int64_t offset = control->wall_offset_ms;
    int64_t nanoseconds = now->tv_nsec + (offset % 1000) * 1000000;
    now->tv_sec += offset / 1000 + (nanoseconds >= 1000000000) - (nanoseconds < 0);
    now->tv_nsec = (nanoseconds + 1000000000) % 1000000000;
  }
  return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  struct timespec exact;
  int result = clock_gettime(CLOCK_REALTIME, &exact);
  if (result == 0) {
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
  }
  return result;
}
time_t time(time_t *store) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  if (store) *store = exact.tv_sec;
  return exact.tv_sec;
}
