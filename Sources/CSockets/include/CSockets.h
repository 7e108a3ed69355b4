// System calls and constants that Swift's Glibc module leaves out: epoll, accept4, pipe2, splice, sched_setattr, vsock.
#ifndef CSOCKETS_H
#define CSOCKETS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/un.h>
#include <linux/vm_sockets.h>

/// accept4(2) with SOCK_NONBLOCK | SOCK_CLOEXEC. `address` may be NULL.
int csockets_accept(int fd, struct sockaddr *address, socklen_t *length);
/// pipe2(2) with O_NONBLOCK | O_CLOEXEC.
int csockets_pipe(int ends[2]);
/// fcntl(2) F_SETPIPE_SZ: the capacity got, or -1.
int csockets_set_pipe_size(int fd, int bytes);
/// splice(2) with SPLICE_F_MOVE | SPLICE_F_NONBLOCK and no offsets.
ssize_t csockets_splice(int from, int to, size_t bytes);
/// SO_LINGER with a zero time-out: close(2) then sends RST instead of FIN.
int csockets_reset_on_close(int fd);
/// fcntl(2) F_SETFL and F_GETFL: adds or removes O_NONBLOCK.
int csockets_set_nonblocking(int fd, int on);
/// sched_setattr(2): asks for this time slice for the calling thread, in nanoseconds. Since Linux 6.12 the default
/// policy heeds it, and a thread with a shorter one runs sooner when it wakes; older kernels ignore it.
int csockets_set_slice(uint64_t nanoseconds);
/// prctl(2) PR_SET_NAME for the calling thread: at most 15 bytes, the rest is cut off.
int csockets_name_thread(const char *name);

#endif
