/*
 * Preloaded into a daemon: `/dev/i2c-N` is a socket to `simulated-bus.ts`, which answers the transactions; what it says
 * a transaction takes on the wire is slept here, as the kernel's driver would. The records stand there too.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ORDER_OPEN, ORDER_SLAVE, ORDER_TRANSFER };
#define MAX_FDS 65536
#define MAX_BYTES 4096

static uint8_t is_bus[MAX_FDS];

static int exactly(int fd, void *bytes, size_t length, int is_write) {
  for (size_t done = 0; done < length;) {
    char *at = (char *)bytes + done;
    ssize_t some = is_write ? send(fd, at, length - done, MSG_NOSIGNAL) : recv(fd, at, length - done, 0);
    if (some < 0 && errno == EINTR) continue;
    if (some <= 0) return -1;
    done += (size_t)some;
  }
  return 0;
}

/* Sends an order of so many bytes; the answer's bytes go to `answer`. Returns -1 with errno set as the answer says. */
static int ask(int fd, uint8_t *order, uint32_t length, uint8_t *answer, uint32_t room) {
  uint32_t head[3]; /* errno, microseconds, length */
  memcpy(order, &length, 4);
  if (exactly(fd, order, length, 1) < 0 || exactly(fd, head, sizeof head, 0) < 0) {
    errno = ENODEV;
    return -1;
  }
  if (head[2] > room || exactly(fd, answer, head[2], 0) < 0) {
    errno = EIO;
    return -1;
  }
  if (head[1] > 0) usleep(head[1]);
  if (head[0] == 0) return 0;
  errno = (int)head[0];
  return -1;
}

static int open_bus(const char *path) {
  const char *name = getenv("HEADGATE_I2C_BUS");
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (!name || fd < 0 || fd >= MAX_FDS || strlen(name) >= sizeof address.sun_path) {
    errno = ENOENT;
    return -1;
  }
  strcpy(address.sun_path, name);
  uint8_t order[9] = {[4] = ORDER_OPEN};
  uint32_t number = (uint32_t)strtoul(path + strlen("/dev/i2c-"), NULL, 10);
  memcpy(order + 5, &number, 4);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) errno = ENOENT;
  else if (ask(fd, order, sizeof order, NULL, 0) == 0) {
    is_bus[fd] = 1;
    return fd;
  }
  int reason = errno;
  close(fd);
  errno = reason;
  return -1;
}

#define OPEN(symbol)                                                       \
  int symbol(const char *path, int flags, ...) {                          \
    static int (*real)(const char *, int, ...);                           \
    if (!real) *(void **)&real = dlsym(RTLD_NEXT, #symbol);               \
    va_list rest;                                                          \
    va_start(rest, flags);                                                 \
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                                          \
    if (strncmp(path, "/dev/i2c-", 9) == 0) return open_bus(path);         \
    return real(path, flags, mode);                                        \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  static int (*real)(int);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "close");
  if (fd >= 0 && fd < MAX_FDS) is_bus[fd] = 0;
  return real(fd);
}

static int transfer(int fd, struct i2c_rdwr_ioctl_data *data) {
  uint8_t order[MAX_BYTES], answer[MAX_BYTES];
  uint32_t length = 6;
  order[4] = ORDER_TRANSFER;
  order[5] = (uint8_t)data->nmsgs;
  for (uint32_t i = 0; i < data->nmsgs; i++) {
    struct i2c_msg *message = &data->msgs[i];
    int reads = (message->flags & I2C_M_RD) != 0;
    if (length + 5 + message->len > MAX_BYTES) {
      errno = EINVAL;
      return -1;
    }
    order[length] = (uint8_t)message->addr;
    order[length + 1] = (uint8_t)reads;
    memcpy(order + length + 2, &message->len, 2);
    length += 4;
    if (reads) continue;
    memcpy(order + length, message->buf, message->len);
    length += message->len;
  }
  if (ask(fd, order, length, answer, sizeof answer) < 0) return -1;
  uint8_t *from = answer;
  for (uint32_t i = 0; i < data->nmsgs; i++) {
    struct i2c_msg *message = &data->msgs[i];
    if (!(message->flags & I2C_M_RD)) continue;
    memcpy(message->buf, from, message->len);
    from += message->len;
  }
  return (int)data->nmsgs;
}

int ioctl(int fd, unsigned long request, ...) {
  static int (*real)(int, unsigned long, ...);
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, "ioctl");
  va_list rest;
  va_start(rest, request);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  if (fd < 0 || fd >= MAX_FDS || !is_bus[fd]) return real(fd, request, argument);
  switch (request) {
    case I2C_FUNCS:
      *(unsigned long *)argument = I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL;
      return 0;
    case I2C_TIMEOUT:
    case I2C_RETRIES:
      return 0;
    case I2C_SLAVE: {
      uint8_t order[6] = {[4] = ORDER_SLAVE, [5] = (uint8_t)(uintptr_t)argument};
      return ask(fd, order, sizeof order, NULL, 0);
    }
    case I2C_RDWR:
      return transfer(fd, argument);
    default:
      errno = ENOTTY;
      return -1;
  }
}
