/*
 * Modbus devices for tests, by libmodbus (LGPL-2.1, Debian's libmodbus-dev), which shares no code with the gateway.
 *
 *   server rtu PATH BAUD UNIT   one unit on a serial line
 *   server tcp PORT             a server of one connection at a time, as many gateways are, with units behind it
 *
 * The values come first, one per line of the standard input, after `unit N` where there are several:
 *   holding|input|coil|discrete ADDRESS VALUE
 * and then `serve`. Each table goes up to the highest address that has a value. It says `ready PORT`, and runs until
 * its input ends.
 */
#include <errno.h>
#include <modbus.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <unistd.h>

#define UNITS 256
#define ADDRESSES 4096

static modbus_mapping_t *units[UNITS];

static modbus_mapping_t *mapping_of(int unit) {
  if (!units[unit]) {
    units[unit] = modbus_mapping_new(ADDRESSES, ADDRESSES, ADDRESSES, ADDRESSES);
    units[unit]->nb_bits = units[unit]->nb_input_bits = 0;
    units[unit]->nb_registers = units[unit]->nb_input_registers = 0;
  }
  return units[unit];
}

#define SET(count, table)                                                                                    \
  do {                                                                                                       \
    mapping->table[address] = value;                                                                         \
    if (mapping->count <= address) mapping->count = address + 1;                                             \
  } while (0)

static void read_values(int unit) {
  char line[128], table[16];
  int address, value;
  while (fgets(line, sizeof line, stdin) && strcmp(line, "serve\n")) {
    if (sscanf(line, "unit %d", &unit) == 1) continue;
    if (sscanf(line, "%15s %d %d", table, &address, &value) != 3 || address >= ADDRESSES) exit(2);
    modbus_mapping_t *mapping = mapping_of(unit);
    if (!strcmp(table, "holding")) SET(nb_registers, tab_registers);
    else if (!strcmp(table, "input")) SET(nb_input_registers, tab_input_registers);
    else if (!strcmp(table, "coil")) SET(nb_bits, tab_bits);
    else SET(nb_input_bits, tab_input_bits);
  }
}

static void ready(int port) {
  printf("ready %d\n", port);
  fflush(stdout);
}

/* Whoever started this closes the input when it ends. */
static int awaits(int fd) {
  struct pollfd fds[2] = {{.fd = fd, .events = POLLIN}, {.fd = 0, .events = POLLIN}};
  while (poll(fds, 2, -1) < 0 && errno == EINTR) {
  }
  if (fds[1].revents) exit(0);
  return fds[0].revents;
}

static void serve_rtu(const char *path, int baud, int unit) {
  modbus_t *context = modbus_new_rtu(path, baud, 'E', 8, 1);
  uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
  modbus_set_slave(context, unit);
  if (modbus_connect(context) < 0) exit(3);
  ready(0);
  for (;;) {
    awaits(modbus_get_socket(context));
    int length = modbus_receive(context, query);
    if (length > 0) modbus_reply(context, query, length, mapping_of(unit));
  }
}

static void serve_tcp(int port) {
  modbus_t *context = modbus_new_tcp("127.0.0.1", port);
  uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
  int listener = modbus_tcp_listen(context, 1);
  if (listener < 0) exit(3);
  struct sockaddr_in address;
  socklen_t bytes = sizeof address;
  getsockname(listener, (struct sockaddr *)&address, &bytes);
  ready(ntohs(address.sin_port));
  for (;;) {
    awaits(listener);
    if (modbus_tcp_accept(context, &listener) < 0) exit(3);
    for (;;) {
      awaits(modbus_get_socket(context));
      int length = modbus_receive(context, query);
      if (length < 0) break;
      if (length == 0) continue;
      modbus_mapping_t *mapping = units[query[6]];
      if (mapping) modbus_reply(context, query, length, mapping);
      else modbus_reply_exception(context, query, MODBUS_EXCEPTION_GATEWAY_TARGET);
    }
    modbus_close(context);
  }
}

int main(int count, char **arguments) {
  setvbuf(stdin, NULL, _IONBF, 0);
  if (count == 5 && !strcmp(arguments[1], "rtu")) {
    int unit = atoi(arguments[4]);
    read_values(unit);
    serve_rtu(arguments[2], atoi(arguments[3]), unit);
  } else if (count == 3 && !strcmp(arguments[1], "tcp")) {
    read_values(255);
    serve_tcp(atoi(arguments[2]));
  }
  return 2;
}
