// The load of the relay benchmark: a server, and clients that measure.
//
// load serve PORT                    answers whatever the clients below ask for
// load up PORT STREAMS MIB           sends MIB over each of STREAMS connections: seconds
// load down PORT STREAMS MIB         receives them
// load short PORT CONNECTIONS MS     connect, one byte each way, close; so many at once
//                                    connections a second, first byte p50 and p99 in microseconds
// load count PORT CONNECTIONS TOTAL  the same, TOTAL times: seconds
// load ping PORT MS                  64 bytes there and back on one connection: p50 and p99 in microseconds
// load idle PORT CONNECTIONS         opens them, says so, keeps them until standard input ends
// load duplex PORT MIB               both ways at once, checked, and the client reads slowly at first: seconds
//
// LOAD_HEAD in the environment is what short and count say in place of the byte, and up and down before all else; it begins
// with a b, so the server says it back.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 1 << 20, PING = 64 };

struct request {
    char kind; // b: one byte, e: echo, u: up, d: down, x: both
    char pad[7];
    uint64_t bytes;
};

static char *zeros;
static const char *head = "b";

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void must(int ok, const char *what) {
    if (!ok) die(what);
}

static int dial(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    must(connect(fd, (void *)&to, sizeof to) == 0, "connect");
    return fd;
}

static void send_all(int fd, const char *bytes, size_t count) {
    while (count) {
        ssize_t n = send(fd, bytes, count, MSG_NOSIGNAL);
        must(n > 0, "send");
        bytes += n, count -= n;
    }
}

static size_t read_all(int fd, char *bytes, size_t count) {
    size_t got = 0;
    while (got < count) {
        ssize_t n = recv(fd, bytes + got, count - got, 0);
        must(n >= 0, "recv");
        if (n == 0) break;
        got += n;
    }
    return got;
}

// Block number `index` of stream `seed`: any lost, repeated or swapped byte shows.
static void pattern(uint64_t *block, uint64_t seed, uint64_t index) {
    uint64_t x = (seed + 1) * 0x9e3779b97f4a7c15ull + index * 0xbf58476d1ce4e5b9ull;
    for (size_t i = 0; i < BLOCK / 8; i++) {
        block[i] = x;
        x += 0x94d049bb133111ebull;
    }
}

static void send_pattern(int fd, uint64_t seed, uint64_t bytes) {
    uint64_t *block = malloc(BLOCK);
    for (uint64_t i = 0; i < bytes / BLOCK; i++) {
        pattern(block, seed, i);
        send_all(fd, (char *)block, BLOCK);
    }
    shutdown(fd, SHUT_WR);
    free(block);
}

static void check_pattern(int fd, uint64_t seed, uint64_t bytes, int slow) {
    uint64_t *block = malloc(BLOCK), *expected = malloc(BLOCK);
    for (uint64_t i = 0; i < bytes / BLOCK; i++) {
        if (slow && i < 64) usleep(20000);
        must(read_all(fd, (char *)block, BLOCK) == BLOCK, "stream cut");
        pattern(expected, seed, i);
        must(memcmp(block, expected, BLOCK) == 0, "bytes differ");
    }
    char extra;
    must(recv(fd, &extra, 1, 0) == 0, "bytes too many");
    free(block), free(expected);
}

struct job {
    int fd, slow;
    uint64_t seed, bytes;
    char kind;
};

static void *run_job(void *argument) {
    struct job *job = argument;
    static __thread char *buffer;
    if (!buffer) buffer = malloc(BLOCK);
    if (job->kind == 'u') {
        while (recv(job->fd, buffer, BLOCK, 0) > 0) {}
    } else if (job->kind == 'd') {
        // A client that goes away ends its job, not the server.
        for (uint64_t left = job->bytes, sent; left; left -= sent) {
            ssize_t n = send(job->fd, zeros, left < BLOCK ? left : BLOCK, MSG_NOSIGNAL);
            if (n <= 0) break;
            sent = n;
        }
    } else if (job->kind == 's') {
        send_pattern(job->fd, job->seed, job->bytes);
        free(job);
        return NULL;
    } else if (job->kind == 'x') {
        struct job *sender = malloc(sizeof *sender);
        *sender = (struct job){.fd = job->fd, .seed = 2, .bytes = job->bytes, .kind = 's'};
        pthread_t thread;
        pthread_create(&thread, NULL, run_job, sender);
        check_pattern(job->fd, 1, job->bytes, 0);
        pthread_join(thread, NULL);
    }
    close(job->fd);
    free(buffer);
    buffer = NULL;
    free(job);
    return NULL;
}

static void spawn_job(int fd, struct request *request) {
    fcntl(fd, F_SETFL, 0);
    struct job *job = malloc(sizeof *job);
    *job = (struct job){.fd = fd, .kind = request->kind, .bytes = request->bytes};
    pthread_t thread;
    pthread_create(&thread, NULL, run_job, job);
    pthread_detach(thread);
}

static void serve(int port) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    must(bind(listener, (void *)&at, sizeof at) == 0 && listen(listener, 4096) == 0, "listen");
    int ep = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(ep, events, 256, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                    event.data.fd = fd;
                    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
                }
                continue;
            }
            char bytes[4096];
            ssize_t n = recv(fd, bytes, 1, MSG_PEEK);
            if (n < 0 && errno == EAGAIN) continue;
            if (n <= 0) {
                close(fd);
                continue;
            }
            if (bytes[0] == 'b' || bytes[0] == 'e') {
                n = recv(fd, bytes, sizeof bytes, 0);
                if (n > 0) send(fd, bytes, n, MSG_NOSIGNAL);
            } else if (recv(fd, bytes, sizeof(struct request), MSG_PEEK) == sizeof(struct request)) {
                struct request request;
                recv(fd, &request, sizeof request, 0);
                epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
                spawn_job(fd, &request);
            }
        }
    }
}

// Says the head and awaits it, so that whoever looks at it has looked.
static void say_head(int fd) {
    char bytes[4096];
    size_t count = strlen(head);
    send_all(fd, head, count);
    must(read_all(fd, bytes, count) == count, "echo");
}

struct bulk {
    int fd;
    uint64_t bytes;
    char kind;
};

static void *bulk_client(void *argument) {
    struct bulk *bulk = argument;
    struct request request = {.kind = bulk->kind, .bytes = bulk->bytes};
    send_all(bulk->fd, (char *)&request, sizeof request);
    char *buffer = malloc(BLOCK);
    if (bulk->kind == 'u') {
        for (uint64_t left = bulk->bytes; left; left -= BLOCK) send_all(bulk->fd, zeros, BLOCK);
        shutdown(bulk->fd, SHUT_WR);
        must(recv(bulk->fd, buffer, 1, 0) == 0, "end");
    } else {
        uint64_t got = 0;
        ssize_t n;
        while ((n = recv(bulk->fd, buffer, BLOCK, 0)) > 0) got += n;
        must(got == bulk->bytes, "short stream");
    }
    close(bulk->fd);
    free(buffer);
    return NULL;
}

static void bulk(int port, char kind, int streams, uint64_t mib) {
    struct bulk jobs[streams];
    pthread_t threads[streams];
    for (int i = 0; i < streams; i++) {
        jobs[i] = (struct bulk){dial(port), mib << 20, kind};
        if (head[1]) say_head(jobs[i].fd);
    }
    uint64_t start = now();
    for (int i = 0; i < streams; i++) pthread_create(&threads[i], NULL, bulk_client, &jobs[i]);
    for (int i = 0; i < streams; i++) pthread_join(threads[i], NULL);
    printf("%.4f\n", (now() - start) / 1e9);
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_times(uint32_t *times, size_t count) {
    must(count > 0, "nothing measured");
    qsort(times, count, sizeof *times, by_size);
    printf("%u %u\n", times[count / 2], times[count * 99 / 100]);
}

// One thread keeps `at_once` connections going: connecting, then awaiting the byte.
static void shorts(int port, int at_once, uint64_t total, uint64_t duration) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    size_t room = 1 << 22, done = 0, failed = 0, length = strlen(head);
    uint32_t *times = malloc(room * sizeof *times);
    struct { int fd; uint64_t start; } slots[at_once];
    int ep = epoll_create1(0), one = 1;
    struct epoll_event event, events[64];
    uint64_t start = now(), started = 0;
    int active = 0;
    for (int i = 0; i < at_once; i++) slots[i].fd = -1;
    for (;;) {
        uint64_t time = now();
        int more = total ? started < total : time - start < duration;
        for (int i = 0; i < at_once && more; i++) {
            if (slots[i].fd >= 0) continue;
            int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            slots[i].fd = fd, slots[i].start = now();
            if (connect(fd, (void *)&to, sizeof to) && errno != EINPROGRESS) die("connect");
            // On loopback the handshake is over by now; a send before that would say so.
            if (send(fd, head, length, MSG_NOSIGNAL) != (ssize_t)length) die("send on a fresh connection");
            event.events = EPOLLIN, event.data.u32 = i;
            epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event);
            active++, started++;
            more = total ? started < total : 1;
        }
        if (!active) break;
        int count = epoll_wait(ep, events, 64, 5000);
        if (count == 0) {
            fprintf(stderr, "%d connections without an answer\n", active);
            exit(1);
        }
        for (int i = 0; i < count; i++) {
            int slot = events[i].data.u32;
            char bytes[4096];
            if (recv(slots[slot].fd, bytes, sizeof bytes, 0) > 0) {
                if (done < room) times[done] = (now() - slots[slot].start) / 1000;
                done++;
            } else {
                failed++;
            }
            close(slots[slot].fd);
            slots[slot].fd = -1;
            active--;
        }
    }
    double seconds = (now() - start) / 1e9;
    if (failed) fprintf(stderr, "%zu connections failed\n", failed);
    if (total) {
        printf("%.3f %zu\n", seconds, failed);
    } else {
        printf("%.0f ", done / seconds);
        print_times(times, done < room ? done : room);
    }
}

// One connection after another with a pause in between: connect, send, await the byte, close.
static void spaced(int port, uint64_t total) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int one = 1;
    for (uint64_t i = 0; i < total; i++) {
        usleep(400);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(fd, (void *)&to, sizeof to)) die("connect");
        char byte = 'b';
        must(send(fd, &byte, 1, MSG_NOSIGNAL) == 1 && recv(fd, &byte, 1, 0) == 1, "byte");
        close(fd);
    }
}

static void ping(int port, uint64_t duration) {
    int fd = dial(port);
    char bytes[PING];
    memset(bytes, 'e', PING);
    uint32_t *times = malloc((1 << 22) * sizeof *times);
    size_t count = 0;
    uint64_t end = now() + duration;
    while (now() < end && count < 1 << 22) {
        uint64_t start = now();
        send_all(fd, bytes, PING);
        must(read_all(fd, bytes, PING) == PING, "echo");
        times[count++] = (now() - start) / 1000;
        usleep(500);
    }
    print_times(times, count);
}

static void idle(int port, int count) {
    int *fds = malloc(count * sizeof *fds);
    char byte = 'e';
    for (int i = 0; i < count; i++) {
        fds[i] = dial(port);
        send_all(fds[i], &byte, 1);
        must(read_all(fds[i], &byte, 1) == 1, "echo");
    }
    puts("ready");
    fflush(stdout);
    while (read(0, &byte, 1) > 0) {}
    for (int i = 0; i < count; i++) close(fds[i]);
}

static void duplex(int port, uint64_t mib) {
    int fd = dial(port);
    struct request request = {.kind = 'x', .bytes = mib << 20};
    send_all(fd, (char *)&request, sizeof request);
    uint64_t start = now();
    struct job *sender = malloc(sizeof *sender);
    *sender = (struct job){.fd = fd, .seed = 1, .bytes = mib << 20, .kind = 's'};
    pthread_t thread;
    pthread_create(&thread, NULL, run_job, sender);
    check_pattern(fd, 2, mib << 20, 1);
    pthread_join(thread, NULL);
    printf("%.3f\n", (now() - start) / 1e9);
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    signal(SIGPIPE, SIG_IGN);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    zeros = calloc(1, BLOCK);
    if (getenv("LOAD_HEAD")) head = getenv("LOAD_HEAD");
    const char *what = argv[1];
    int port = atoi(argv[2]);
    uint64_t a = argc > 3 ? strtoull(argv[3], NULL, 10) : 0, b = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
    if (!strcmp(what, "serve")) serve(port);
    else if (!strcmp(what, "up")) bulk(port, 'u', a, b);
    else if (!strcmp(what, "down")) bulk(port, 'd', a, b);
    else if (!strcmp(what, "short")) shorts(port, a, 0, b * 1000000);
    else if (!strcmp(what, "count")) shorts(port, a, b, 0);
    else if (!strcmp(what, "spaced")) spaced(port, a);
    else if (!strcmp(what, "ping")) ping(port, a * 1000000);
    else if (!strcmp(what, "idle")) idle(port, a);
    else if (!strcmp(what, "duplex")) duplex(port, a);
    else return 2;
    return 0;
}
