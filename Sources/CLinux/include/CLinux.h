// Linux as Swift's Glibc module leaves it out: epoll, accept4, pipe2, splice, sched_setattr, prctl, vsock, perf events; among
// them calls that Swift can't make by itself (variadic ioctl(2) and syscall(2), bit-fields, memory barriers).
#ifndef CLINUX_H
#define CLINUX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/types.h>
#include <sys/un.h>
#include <linux/perf_event.h>
#include <linux/vm_sockets.h>

/// accept4(2) with SOCK_NONBLOCK | SOCK_CLOEXEC. `address` may be NULL.
int clinux_accept(int fd, struct sockaddr *address, socklen_t *length);
/// pipe2(2) with O_NONBLOCK | O_CLOEXEC.
int clinux_pipe(int ends[2]);
/// fcntl(2) F_SETPIPE_SZ: the capacity got, or -1.
int clinux_set_pipe_size(int fd, int bytes);
/// splice(2) with SPLICE_F_MOVE | SPLICE_F_NONBLOCK and no offsets.
ssize_t clinux_splice(int from, int to, size_t bytes);
/// SO_LINGER with a zero time-out, or none: whether close(2) sends RST instead of FIN. Accepted sockets inherit it.
int clinux_reset_on_close(int fd, int on);
/// ioctl(2) FIONREAD: the bytes that a socket can give at once, or -1.
int clinux_readable_bytes(int fd);
/// SO_PEERCRED: the user at the other end of a unix socket when it connected; 0, or -1.
int clinux_peer_user(int fd, uid_t *user);
/// Sends one byte with a descriptor over a unix stream socket, without waiting (SCM_RIGHTS, unix(7)): 1, or -1.
ssize_t clinux_send_descriptor(int fd, unsigned char byte, int passed);
/// Receives one byte, and the close-on-exec descriptor that came with it in `passed`, else -1: 1, 0 at the end, or -1.
ssize_t clinux_receive_descriptor(int fd, unsigned char *byte, int *passed);
/// Starts a program that outlives this one: in a session of its own, in /, with no input, `output` as both outputs, no
/// other descriptor, and every signal as it is by default (posix_spawn(3)). 0, or an errno value.
int clinux_spawn_detached(const char *path, char *const arguments[], char *const environment[], int output, pid_t *pid);
/// fcntl(2) F_SETFL and F_GETFL: adds or removes O_NONBLOCK.
int clinux_set_nonblocking(int fd, int on);
/// A new pseudo-terminal (pty(7)): its master, non-blocking, and its other side with the other side's path, both
/// close-on-exec and nobody's controlling terminal. -1 and errno.
int clinux_open_terminal(int ends[2], char *path, size_t length);
/// ioctl(2) TIOCSWINSZ.
int clinux_set_terminal_size(int fd, uint16_t rows, uint16_t columns);
/// ioctl(2) TIOCGWINSZ.
int clinux_terminal_size(int fd, uint16_t *rows, uint16_t *columns);
/// ioctl(2) TIOCGPGRP, which tcgetpgrp(3) does not do on a master: the process group in the foreground, or -1.
int clinux_foreground_group(int fd);
/// sched_setattr(2): asks for this time slice for the calling thread, in nanoseconds. Since Linux 6.12 the default
/// policy heeds it, and a thread with a shorter one runs sooner when it wakes; older kernels ignore it.
int clinux_set_slice(uint64_t nanoseconds);
/// prctl(2) PR_SET_NAME for the calling thread: at most 15 bytes, the rest is cut off.
int clinux_name_thread(const char *name);
/// The soft limit of this thread's timer slack, in nanoseconds (PR_SET_TIMERSLACK).
int clinux_set_timer_slack(unsigned long nanoseconds);

/// Opens a disabled event on every firing of tracepoint `id` on `cpu`, in any process: samples carry TID, TIME
/// (CLOCK_MONOTONIC) and RAW, and each one wakes the reader if `wakes`. Close-on-exec. -1 and errno when refused.
int clinux_perf_open_tracepoint(uint64_t id, int cpu, int wakes);
/// The same for what BPF programs write on `cpu` (PERF_COUNT_SW_BPF_OUTPUT), each waking the reader.
int clinux_perf_open_bpf_output(int cpu);
/// PERF_EVENT_IOC_SET_FILTER: the kernel then writes only events for which `filter` holds.
int clinux_perf_set_filter(int fd, const char *filter);
/// PERF_EVENT_IOC_ENABLE.
int clinux_perf_enable(int fd);
/// How far the kernel has written, with the read barrier that perf_event_open(2) asks for.
uint64_t clinux_perf_head(const struct perf_event_mmap_page *page);
/// Tells the kernel how far we have read; all reads before it are complete.
void clinux_perf_set_tail(struct perf_event_mmap_page *page, uint64_t tail);
/// A tracefs that is mounted nowhere (fsopen(2), fsmount(2), Linux 5.2): its root directory, or -1.
int clinux_open_tracefs(void);

/// BPF_MAP_CREATE: a BPF_MAP_TYPE_PERF_EVENT_ARRAY for `entries` CPUs, close-on-exec. -1 and errno. Here and below: bpf(2).
int clinux_bpf_make_event_array(uint32_t entries);
/// BPF_MAP_UPDATE_ELEM: what programs write on `cpu` goes to that event from now on, as long as `map` is open. 0, or -1.
int clinux_bpf_set_event(int map, uint32_t cpu, int event);
/// When a BPF_PROG_TYPE_TRACING program runs (Linux 5.5).
enum clinux_bpf_moment { CLINUX_BPF_ENTRY, CLINUX_BPF_EXIT };
/// BPF_PROG_LOAD of a tracing program for the kernel function with that BTF id; id 0 is refused with EINVAL where such
/// programs may be loaded at all. `log` may be NULL, else it gets what the verifier says. A descriptor, or -1.
int clinux_bpf_load(const uint64_t *instructions, uint32_t count, const char *license, enum clinux_bpf_moment moment,
    uint32_t function, char *log, uint32_t log_size);
/// BPF_RAW_TRACEPOINT_OPEN: the program runs as long as the descriptor that is returned is open. -1 and errno.
int clinux_bpf_attach(int program);

#endif
