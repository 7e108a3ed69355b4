// echo-vsock listen PORT       answers every connection on AF_VSOCK with the bytes it sends, half-close included
// echo-vsock connect CID PORT  stdin to the peer, the peer's bytes to stdout, until both have ended
#define _GNU_SOURCE
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void fail(const char *what) {
    perror(what);
    exit(1);
}

// Copies once from one descriptor to the other; 0 at the end of input.
static int copy(int from, int to) {
    char bytes[65536];
    ssize_t count = read(from, bytes, sizeof bytes);
    if (count < 0) fail("read");
    for (ssize_t done = 0; done < count;) {
        ssize_t written = write(to, bytes + done, count - done);
        if (written < 0) fail("write");
        done += written;
    }
    return count > 0;
}

static void echo(int client) {
    while (copy(client, client)) {
    }
    exit(0);
}

int main(int argc, char **argv) {
    struct sockaddr_vm address = {.svm_family = AF_VSOCK};
    int s = socket(AF_VSOCK, SOCK_STREAM, 0);
    if (s < 0) fail("socket");

    if (argc == 3 && !strcmp(argv[1], "listen")) {
        address.svm_cid = VMADDR_CID_ANY;
        address.svm_port = atoi(argv[2]);
        if (bind(s, (void *)&address, sizeof address) || listen(s, 5)) fail("listen");
        printf("listening on port %s\n", argv[2]);
        fflush(stdout);
        for (;;) {
            int client = accept(s, NULL, NULL);
            if (client < 0) fail("accept");
            if (fork() == 0) echo(client);
            close(client);
        }
    }
    if (argc != 4 || strcmp(argv[1], "connect")) {
        fprintf(stderr, "usage: echo-vsock listen PORT | connect CID PORT\n");
        return 2;
    }
    address.svm_cid = atoi(argv[2]);
    address.svm_port = atoi(argv[3]);
    if (connect(s, (void *)&address, sizeof address)) fail("connect");
    // The echo comes back while the rest is still being sent, so both directions have to move.
    pid_t sender = fork();
    if (sender == 0) {
        while (copy(STDIN_FILENO, s)) {
        }
        if (shutdown(s, SHUT_WR)) fail("shutdown");
        return 0;
    }
    while (copy(s, STDOUT_FILENO)) {
    }
    return 0;
}
