// What tests and benchmarks do to their own threads: namespaces, capabilities, system-call filters.
#ifndef CLIVEKERNEL_H
#define CLIVEKERNEL_H

#include <stddef.h>

/// unshare(2) of the calling thread's network namespace; brings the new one's loopback interface up.
int clivekernel_new_network(void);
/// setns(2) of the calling thread into the network namespace behind `fd`.
int clivekernel_enter_network(int fd);
/// Takes one capability, by number, out of the calling thread's effective, permitted and inheritable sets.
int clivekernel_drop_capability(int capability);
/// Takes every capability that has no bit in `mask` out of the calling thread's bounding set, so that no program it starts
/// has it, root's neither (capabilities(7)).
int clivekernel_bound_capabilities(unsigned long long mask);
/// Makes the calling thread, and it alone, another user's and takes its privileges away.
int clivekernel_become_user(unsigned int user);
/// From now on socket(2) of this family fails with EACCES on the calling thread (seccomp(2)).
int clivekernel_forbid_sockets(int family);
/// The calling thread's CPU time in nanoseconds, or that of process `pid` when it is not 0.
long long clivekernel_cpu_time(int pid);
/// Forks a child that holds `fd`, and nothing else, as descriptor 3 until it is killed. Returns its pid.
int clivekernel_fork_holding(int fd);
/// Makes a file system of this type that is mounted nowhere, and returns its root directory.
int clivekernel_mount(const char *type);
/// Gives the calling thread a mount namespace of its own with a tracefs in its usual place.
int clivekernel_own_tracefs(void);
/// mlock(2) itself: the C library's does nothing where a sanitizer stands before it.
int clivekernel_lock_memory(const void *start, size_t size);
/// Binds the calling thread to one CPU.
int clivekernel_pin(int cpu);
/// The calling thread's number (gettid(2)).
int clivekernel_thread_id(void);

#endif
