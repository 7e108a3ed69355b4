#include "CNetlink.h"

#include <linux/filter.h>
#include <stddef.h>

int cnetlink_keep_unconnected(int fd) {
    const unsigned int peer_port = sizeof(struct nlmsghdr) + offsetof(struct inet_diag_msg, id.idiag_dport);
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_H | BPF_ABS, peer_port),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
        BPF_STMT(BPF_RET | BPF_K, 0),
    };
    struct sock_fprog program = {.len = sizeof code / sizeof code[0], .filter = code};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}
