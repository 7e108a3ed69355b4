// libmnl, the kernel's headers for sock_diag and perf_event, and the calls that Swift can't make by itself:
// variadic ioctl(2) and syscall(2), bit-fields, and the memory barriers of the perf ring.
#ifndef CNETLINK_H
#define CNETLINK_H

#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/socket.h>

/// Opens a disabled event on every firing of tracepoint `id` on `cpu`, in any process: samples carry TID, TIME
/// (CLOCK_MONOTONIC) and RAW, and each one wakes the reader. Close-on-exec. -1 and errno when refused.
int cnetlink_perf_open(uint64_t id, int cpu);
/// PERF_EVENT_IOC_SET_FILTER: the kernel then writes only events for which `filter` holds.
int cnetlink_perf_set_filter(int fd, const char *filter);
/// PERF_EVENT_IOC_ENABLE.
int cnetlink_perf_enable(int fd);
/// How far the kernel has written, with the read barrier that perf_event_open(2) asks for.
uint64_t cnetlink_perf_head(const struct perf_event_mmap_page *page);
/// Tells the kernel how far we have read; all reads before it are complete.
void cnetlink_perf_set_tail(struct perf_event_mmap_page *page, uint64_t tail);
/// A tracefs that is mounted nowhere (fsopen(2), fsmount(2), Linux 5.2): its root directory, or -1.
int cnetlink_open_tracefs(void);
/// Makes a socket in SKNLGRP_INET{,6}_TCP_DESTROY receive only sockets without a peer, as listeners are.
int cnetlink_keep_unconnected(int fd);
/// The soft limit of this thread's timer slack, in nanoseconds (PR_SET_TIMERSLACK).
int cnetlink_set_timer_slack(unsigned long nanoseconds);

#endif
