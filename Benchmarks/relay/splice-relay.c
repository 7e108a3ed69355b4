// The physical reference: one thread, epoll, splice(2) through one pipe a direction. No limits, no timeouts, no
// handshake, no care for resets: what the kernel can do at best, for one hop.
//
// splice-relay LISTEN CONNECT, each `tcp:PORT` (127.0.0.1) or `unix:PATH`.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

enum { PIPE_SIZE = 1 << 20 };

struct side {
    int fd, peer_open, ended, pipe[2];
    size_t held;
    struct side *peer;
    struct side *next_dead;
    int dead;
};

static struct side *dead;

static socklen_t address(const char *text, struct sockaddr_storage *out, int *family) {
    memset(out, 0, sizeof *out);
    if (strncmp(text, "tcp:", 4) == 0) {
        struct sockaddr_in *in = (void *)out;
        in->sin_family = *family = AF_INET;
        in->sin_port = htons(atoi(text + 4));
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return sizeof *in;
    }
    struct sockaddr_un *un = (void *)out;
    un->sun_family = *family = AF_UNIX;
    strncpy(un->sun_path, text + 5, sizeof un->sun_path - 1);
    return sizeof *un;
}

static void no_delay(int fd) {
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void end(struct side *s) {
    if (s->dead) return;
    s->dead = s->peer->dead = 1;
    s->next_dead = dead;
    dead = s;
}

// Moves from s to its peer until one of them blocks.
static void move(struct side *s) {
    if (s->ended || s->dead) return;
    for (;;) {
        if (s->held) {
            ssize_t n = splice(s->pipe[0], 0, s->peer->fd, 0, s->held, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
            if (n < 0 && errno == EAGAIN) return;
            if (n <= 0) return end(s);
            s->held -= n;
            continue;
        }
        if (s->pipe[0] < 0) {
            if (pipe2(s->pipe, O_NONBLOCK | O_CLOEXEC)) return end(s);
            fcntl(s->pipe[1], F_SETPIPE_SZ, PIPE_SIZE);
        }
        ssize_t n = splice(s->fd, 0, s->pipe[1], 0, PIPE_SIZE, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0) return end(s);
        if (n == 0) {
            s->ended = 1;
            shutdown(s->peer->fd, SHUT_WR);
            if (s->peer->ended) end(s);
            return;
        }
        s->held = n;
    }
}

static struct side *make(int fd) {
    struct side *s = calloc(1, sizeof *s);
    s->fd = fd;
    s->pipe[0] = s->pipe[1] = -1;
    return s;
}

static void drop(struct side *s) {
    close(s->fd);
    if (s->pipe[0] >= 0) close(s->pipe[0]), close(s->pipe[1]);
    free(s);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    signal(SIGPIPE, SIG_IGN);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    struct sockaddr_storage from, to;
    int from_family, to_family, one = 1;
    socklen_t from_size = address(argv[1], &from, &from_family), to_size = address(argv[2], &to, &to_family);
    int listener = socket(from_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (from_family == AF_INET) no_delay(listener);
    if (bind(listener, (void *)&from, from_size) || listen(listener, 4096)) return perror(argv[1]), 1;
    int ep = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[128];
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(ep, events, 128, -1);
        for (int i = 0; i < count; i++) {
            struct side *s = events[i].data.ptr;
            if (s) {
                move(s);
                move(s->peer);
                continue;
            }
            int fd;
            while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                int out = socket(to_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
                if (to_family == AF_INET) no_delay(out);
                if (connect(out, (void *)&to, to_size) && errno != EINPROGRESS) {
                    close(fd), close(out);
                    continue;
                }
                struct side *a = make(fd), *b = make(out);
                a->peer = b, b->peer = a;
                event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
                event.data.ptr = a;
                epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
                event.data.ptr = b;
                epoll_ctl(ep, EPOLL_CTL_ADD, out, &event);
            }
        }
        while (dead) {
            struct side *s = dead;
            dead = s->next_dead;
            drop(s->peer);
            drop(s);
        }
    }
}
