// The programs at both ends of the connections that `test` makes. ADDRESS: PORT (TCP, 127.0.0.1) or CID:PORT (AF_VSOCK).
//   test-peer listen PORT COUNT MS      listens on COUNT ports from PORT on, one each MS milliseconds, until it is ended
//   test-peer sink ADDRESS FILE         reads to the end of file, then answers whether it was FILE again and again
//   test-peer source ADDRESS FILE N     sends FILE N times to whoever connects
//   test-peer reset PORT                resets each connection at its first byte
//   test-peer hold PORT                 tells how each connection ends
//   test-peer once ADDRESS              waits for one connection
//   test-peer push ADDRESS FILE N       client of sink: prints MB/s by its own clock, then the answer
//   test-peer pull ADDRESS FILE         client of source: the same
//   test-peer knock ADDRESS             what comes of 34 zero bytes, the preamble of a host without a token
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) {
    perror(what);
    exit(1);
}

union address {
    struct sockaddr any;
    struct sockaddr_in tcp;
    struct sockaddr_vm vsock;
};

static socklen_t parse(const char *text, union address *address, int listens) {
    const char *colon = strchr(text, ':');
    memset(address, 0, sizeof *address);
    if (colon) {
        address->vsock.svm_family = AF_VSOCK;
        address->vsock.svm_cid = listens ? VMADDR_CID_ANY : strtoul(text, NULL, 10);
        address->vsock.svm_port = strtoul(colon + 1, NULL, 10);
        return sizeof address->vsock;
    }
    address->tcp.sin_family = AF_INET;
    address->tcp.sin_addr.s_addr = htonl(listens ? INADDR_ANY : INADDR_LOOPBACK);
    address->tcp.sin_port = htons(atoi(text));
    return sizeof address->tcp;
}

static int serve(const char *text) {
    union address address;
    socklen_t length = parse(text, &address, 1);
    int s = socket(address.any.sa_family, SOCK_STREAM, 0), on = 1;
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (s < 0 || bind(s, &address.any, length) || listen(s, 16)) fail(text);
    return s;
}

static int dial(const char *text) {
    union address address;
    socklen_t length = parse(text, &address, 0);
    int s = socket(address.any.sa_family, SOCK_STREAM, 0);
    if (s < 0 || connect(s, &address.any, length)) fail("connect");
    return s;
}

// Returns in a new process for each connection, so that a broken one ends nothing else.
static int take(int server) {
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int client = accept(server, NULL, NULL);
        if (client < 0) fail("accept");
        if (fork() == 0) return client;
        close(client);
    }
}

static const char *content;
static size_t content_size;

static void load(const char *path) {
    struct stat info;
    int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &info)) fail(path);
    content_size = info.st_size;
    content = mmap(NULL, content_size, PROT_READ, MAP_SHARED, file, 0);
    if (content == MAP_FAILED) fail("mmap");
}

static void send_content(int s, int times) {
    while (times--) {
        for (size_t done = 0; done < content_size;) {
            ssize_t count = write(s, content + done, content_size - done);
            if (count < 0) fail("write");
            done += count;
        }
    }
}

// Reads to the end of file; `verdict` gets how much came and whether it was the content, again and again.
static unsigned long long receive_content(int s, char *verdict, size_t size) {
    static char bytes[262144];
    unsigned long long total = 0;
    const char *same = "same";
    for (ssize_t count; (count = read(s, bytes, sizeof bytes)) != 0;) {
        if (count < 0) fail("read");
        for (ssize_t done = 0; done < count;) {
            size_t from = (total + done) % content_size, part = content_size - from;
            if (part > (size_t)(count - done)) part = count - done;
            if (memcmp(bytes + done, content + from, part)) same = "different";
            done += part;
        }
        total += count;
    }
    snprintf(verdict, size, "%llu bytes, %s", total, same);
    return total;
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    char verdict[256] = "";
    const char *verb = argc > 2 ? argv[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    if (argc > 3 && strcmp(verb, "listen")) load(argv[3]);

    if (!strcmp(verb, "listen") && argc == 5) {
        for (int i = 0; i < atoi(argv[3]); i++) {
            char port[16];
            snprintf(port, sizeof port, "%d", atoi(argv[2]) + i);
            serve(port);
            usleep(atoi(argv[4]) * 1000);
        }
        for (;;) pause();
    } else if (!strcmp(verb, "sink") && argc == 4) {
        int client = take(serve(argv[2]));
        receive_content(client, verdict, sizeof verdict);
        if (write(client, verdict, strlen(verdict)) < 0) fail("write");
    } else if (!strcmp(verb, "source") && argc == 5) {
        send_content(take(serve(argv[2])), atoi(argv[4]));
    } else if (!strcmp(verb, "reset")) {
        int client = take(serve(argv[2]));
        struct linger now = {1, 0};
        setsockopt(client, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        if (read(client, verdict, 1) < 0) fail("read");
    } else if (!strcmp(verb, "hold")) {
        int client = take(serve(argv[2]));
        ssize_t count;
        while ((count = read(client, verdict, sizeof verdict)) > 0) printf("read %zd bytes\n", count);
        printf("ended: %s\n", count == 0 ? "end of file" : strerror(errno));
    } else if (!strcmp(verb, "once")) {
        if (accept(serve(argv[2]), NULL, NULL) < 0) fail("accept");
    } else if (!strcmp(verb, "push") && argc == 5) {
        int s = dial(argv[2]);
        double start = seconds();
        send_content(s, atoi(argv[4]));
        if (shutdown(s, SHUT_WR)) fail("shutdown");
        if (read(s, verdict, sizeof verdict - 1) < 0) fail("read");
        printf("%.2f MB/s: %s\n", content_size * (double)atoi(argv[4]) / 1e6 / (seconds() - start), verdict);
    } else if (!strcmp(verb, "pull") && argc == 4) {
        int s = dial(argv[2]);
        double start = seconds();
        unsigned long long total = receive_content(s, verdict, sizeof verdict);
        printf("%.2f MB/s: %s\n", total / 1e6 / (seconds() - start), verdict);
    } else if (!strcmp(verb, "knock")) {
        int s = dial(argv[2]);
        char preamble[34] = {0};
        ssize_t count = write(s, preamble, sizeof preamble);
        if (count > 0) count = read(s, verdict, 1);
        if (count > 0) printf("answered %d\n", verdict[0]);
        if (count == 0) printf("closed\n");
        if (count < 0) printf("closed: %s\n", strerror(errno));
    } else {
        fprintf(stderr, "test-peer: bad arguments; see its source\n");
        return 2;
    }
    return 0;
}
