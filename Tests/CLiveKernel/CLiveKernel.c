#define _GNU_SOURCE
#include "CLiveKernel.h"

#include <errno.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <sched.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clivekernel_new_network(void) {
    if (unshare(CLONE_NEWNET) < 0) return -1;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int result = ioctl(fd, SIOCSIFFLAGS, &request);
    close(fd);
    return result;
}

int clivekernel_enter_network(int fd) { return setns(fd, CLONE_NEWNET); }

int clivekernel_drop_capability(int capability) {
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) < 0) return -1;
    unsigned int bit = ~(1U << (capability % 32));
    data[capability / 32].effective &= bit;
    data[capability / 32].permitted &= bit;
    data[capability / 32].inheritable &= bit;
    return (int)syscall(SYS_capset, &header, data);
}

int clivekernel_bound_capabilities(unsigned long long mask) {
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        if (!(mask >> capability & 1) && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0) return -1;
    return 0;
}

int clivekernel_become_user(unsigned int user) {
    // The C library's functions would change all threads of the process.
    if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, user, user, user) < 0) return -1;
    return (int)syscall(SYS_setresuid, user, user, user);
}

int clivekernel_forbid_sockets(int family) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned int)family, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

long long clivekernel_cpu_time(int pid) {
    clockid_t clock = CLOCK_THREAD_CPUTIME_ID;
    if (pid != 0 && clock_getcpuclockid(pid, &clock) != 0) return -1;
    struct timespec time;
    if (clock_gettime(clock, &time) < 0) return -1;
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int clivekernel_fork_holding(int fd) {
    int pid = fork();
    if (pid != 0) return pid;
    // Only async-signal-safe calls from here: the parent has other threads.
    if (dup2(fd, 3) < 0) _exit(1);
    syscall(SYS_close_range, 4, ~0U, 0);
    for (;;) pause();
}

int clivekernel_mount(const char *type) {
    int context = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
    if (context < 0) return -1;
    int mount = -1;
    if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) == 0)
        mount = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
    close(context);
    return mount;
}

int clivekernel_own_tracefs(void) {
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) return -1;
    return mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL);
}

int clivekernel_lock_memory(const void *start, size_t size) {
    return (int)syscall(SYS_mlock, start, size);
}

int clivekernel_pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    return sched_setaffinity(0, sizeof set, &set);
}

int clivekernel_thread_id(void) { return (int)syscall(SYS_gettid); }
