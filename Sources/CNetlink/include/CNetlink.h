// libmnl, and the kernel's headers for sock_diag and rtnetlink that belong to it.
#ifndef CNETLINK_H
#define CNETLINK_H

#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/socket.h>

#endif
