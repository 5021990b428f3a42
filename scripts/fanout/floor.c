/* The floor: what a fan-out costs at the least. For each message and client one write(2), and nothing else.
 *
 *     floor PORT FEED_PORT
 *
 * A peer as described in servers.py. It is a yardstick and no server: clients must be the bench's own (the accept key
 * is theirs), their commands must come whole, and one that does not read holds up all others.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_TOPICS = 1000, MAX_FD = 65536, FEED_ROOM = 1 << 20 };
enum Kind { NOBODY, CLIENTS, FEEDS, UPGRADING, CLIENT, FEED };

static const char ACCEPTED[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZbRK+xOo=\r\n\r\n";

static unsigned char kinds[MAX_FD];
static struct {
    int *members, n, room;
} topics[MAX_TOPICS];
static int epoll;

static void die(const char *why) {
    perror(why);
    exit(1);
}

static void watch(int fd, enum Kind kind) {
    if (fd >= MAX_FD) die("too many connections");
    struct epoll_event event = {EPOLLIN, {.fd = fd}};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) die("epoll_ctl");
    kinds[fd] = (unsigned char)kind;
}

static void listen_on(int port, enum Kind kind) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 2048)) die("listen");
    watch(fd, kind);
}

static void leave(int fd) {
    for (int t = 0; t < MAX_TOPICS; t++)
        for (int i = 0; i < topics[t].n; i++)
            if (topics[t].members[i] == fd) topics[t].members[i--] = topics[t].members[--topics[t].n];
    kinds[fd] = NOBODY;
    close(fd);
}

static void join(int topic, int fd) {
    if (topic < 0 || topic >= MAX_TOPICS) die("no such topic");
    if (topics[topic].n == topics[topic].room) {
        topics[topic].room = 2 * topics[topic].room + 64;
        topics[topic].members = realloc(topics[topic].members, (size_t)topics[topic].room * sizeof(int));
        if (!topics[topic].members) die("realloc");
    }
    topics[topic].members[topics[topic].n++] = fd;
}

static void put(int fd, const void *bytes, size_t len) {
    if (write(fd, bytes, len) != (ssize_t)len && errno != EPIPE && errno != ECONNRESET) die("write");
}

/* "subscribe 0000 0001 …" in a masked text frame. */
static void command(int fd, unsigned char *frame, ssize_t len) {
    size_t size = frame[1] & 127, skip = 2;
    if (size == 126) {
        size = (size_t)frame[2] << 8 | frame[3];
        skip = 4;
    }
    if ((frame[0] & 15) != 1 || (size_t)len < skip + 4 + size) return;
    unsigned char *mask = frame + skip, *text = mask + 4;
    for (size_t i = 0; i < size; i++) text[i] ^= mask[i & 3];
    text[size] = 0;
    for (char *name = strchr((char *)text, ' '); name; name = strchr(name + 1, ' ')) join(atoi(name + 1), fd);
    put(fd, "\x81\x02ok", 4);
}

static void publish(int topic, const char *payload, size_t size) {
    static char frame[FEED_ROOM + 4];
    size_t head = size < 126 ? 2 : 4;
    frame[0] = (char)0x81;
    if (head == 2) {
        frame[1] = (char)size;
    } else {
        frame[1] = 126;
        frame[2] = (char)(size >> 8);
        frame[3] = (char)size;
    }
    memcpy(frame + head, payload, size);
    for (int i = 0; i < topics[topic].n; i++) put(topics[topic].members[i], frame, head + size);
}

static void feed(int fd) {
    static char input[FEED_ROOM];
    static size_t len;
    ssize_t got = read(fd, input + len, sizeof input - len);
    if (got <= 0) {
        leave(fd);
        return;
    }
    len += (size_t)got;
    char *at = input, *end;
    while ((end = memchr(at, '\n', len - (size_t)(at - input)))) {
        publish(atoi(at), at + 5, (size_t)(end - at) - 5);
        at = end + 1;
    }
    len -= (size_t)(at - input);
    memmove(input, at, len);
}

static void serve(int fd) {
    unsigned char input[1 << 16];
    int on = 1;
    switch (kinds[fd]) {
    case CLIENTS:
    case FEEDS: {
        int one = accept(fd, NULL, NULL);
        if (one < 0) die("accept");
        setsockopt(one, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(one, kinds[fd] == FEEDS ? FEED : UPGRADING);
        return;
    }
    case FEED:
        feed(fd);
        return;
    }
    ssize_t got = read(fd, input, sizeof input - 1);
    if (got <= 0) {
        leave(fd);
    } else if (kinds[fd] == UPGRADING) {
        kinds[fd] = CLIENT;
        put(fd, ACCEPTED, sizeof ACCEPTED - 1);
    } else {
        command(fd, input, got);
    }
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    epoll = epoll_create1(0);
    listen_on(atoi(argv[1]), CLIENTS);
    listen_on(atoi(argv[2]), FEEDS);
    for (struct epoll_event events[256];;) {
        int n = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < n; i++)
            if (kinds[events[i].data.fd]) serve(events[i].data.fd);
    }
}
