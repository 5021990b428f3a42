/* The clients of the bench: many websockets (or NATS connections), one thread, everything counted and checked.
 *
 *     sink ws|nats PORT CLIENTS TOPICS PATH ACKS ACK_TEXT < orders
 *
 * Each message carries a mark, "mark":"tttt.ssssssssss.nnnnnnnnnnnnnnnnnnn" (topic, number of the message in its topic
 * from 0, due time in ns of CLOCK_MONOTONIC), wherever it stands. Every client must get every number of every topic
 * once and in order. Nothing is sampled: each message of a chunk counts, with its own due time.
 *
 * Orders are lines on stdin, each answered by one line of JSON:
 *     say TEXT          what each client sends once connected, one text message (ws) or line (nats) each; no answer
 *     open SECONDS      connect all; a refused connection is counted and tried again until then
 *     begin             start a window: counters of the window to zero
 *     end               what came in the window
 *     finish TOTAL MS   wait until every client has had TOTAL messages since the start, at most so long; the balance
 *
 * It is not a websocket library: no close handshake, no fragments joined, the accept key is not checked.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { TAG_LEN = 8, MARK_LEN = 8 + 4 + 1 + 10 + 1 + 19, IN_FLIGHT = 128, EVENTS = 512 };
enum { BUCKET_BITS = 6, BUCKETS = 64 << BUCKET_BITS };
enum { BUFFER = 8 << 20, READ = 1 << 20 };
static const char TAG[] = "\"mark\":\"";

enum State { IDLE, CONNECTING, UPGRADING, SUBSCRIBING, READY, LOST };

struct Client {
    int fd;
    enum State state;
    int acks;
    char *rest; /* the beginning of a frame whose end has not come */
    size_t rest_len, rest_room;
    uint32_t *next; /* by topic: the number that is due */
};

static struct Client *clients;
static int n_clients, n_topics, acks_wanted, nats, port, epoll;
static const char *path, *ack_text;
static char hello[1 << 20]; /* everything a client sends after its handshake */
static size_t hello_len;

static int n_ready, n_in_flight, n_lost;
static uint64_t missed, disordered, delivered, errors, others;
static char first_error[160], first_other[240];
static struct {
    uint64_t messages, frames, bytes, reads, begun, cpu, histogram[BUCKETS];
} window;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *why) {
    fprintf(stderr, "sink: %s: %s\n", why, strerror(errno));
    exit(1);
}

/* Keep the first of its kind, as JSON text. */
static void keep(char *where, size_t room, const char *text, size_t len) {
    if (where[0]) return;
    size_t n = 0;
    for (size_t i = 0; i < len && n + 2 < room; i++) {
        char c = text[i];
        where[n++] = c == '"' ? '\'' : (c < 32 || c == '\\' || c == 127 || (c & 0x80)) ? ' ' : c;
    }
    where[n] = 0;
}

/* -- what arrives ------------------------------------------------------------------------------------------------- */

static inline uint64_t digits(const char *at, int n) {
    uint64_t value = 0;
    for (int i = 0; i < n; i++) value = value * 10 + (uint64_t)(at[i] - '0');
    return value;
}

/* 64 steps for each power of two: latencies are right to 1.6 %. */
static inline int bucket(uint64_t ns) {
    if (ns < 64) return (int)ns;
    int shift = 63 - __builtin_clzll(ns) - BUCKET_BITS;
    return ((shift + 1) << BUCKET_BITS) + (int)((ns >> shift) & 63);
}

static double bucket_ms(int index) {
    if (index < 64) return index / 1e6;
    int shift = (index >> BUCKET_BITS) - 1;
    return (double)((uint64_t)(64 + (index & 63)) << shift) / 1e6;
}

static void count(struct Client *client, const char *mark, uint64_t now) {
    uint32_t topic = (uint32_t)digits(mark + TAG_LEN, 4);
    uint32_t number = (uint32_t)digits(mark + TAG_LEN + 5, 10);
    uint64_t due = digits(mark + TAG_LEN + 16, 19);
    delivered++;
    window.messages++;
    window.histogram[bucket(now > due ? now - due : 0)]++;
    if (topic >= (uint32_t)n_topics) {
        disordered++;
    } else if (number < client->next[topic]) {
        disordered++; /* late or twice */
    } else {
        missed += number - client->next[topic];
        client->next[topic] = number + 1;
    }
}

/* Count the marks in one frame; how many there are. Where the last ones stood is tried before a search: a wrong guess
 * can only make a message look missing, never hide that one is. */
static int scan(struct Client *client, const char *at, size_t len, uint64_t now) {
    static size_t first, step, tail;
    const char *end = at + len, *start = at;
    int found = 0;
    while (end - at >= MARK_LEN && !(found && (size_t)(end - at) == tail)) {
        size_t guess = found ? step : first;
        const char *mark = at + guess;
        if (guess + MARK_LEN > (size_t)(end - at) || memcmp(mark, TAG, TAG_LEN)) {
            mark = memmem(at, (size_t)(end - at), TAG, TAG_LEN);
            if (!mark || mark + MARK_LEN > end) break;
            if (found) step = (size_t)(mark - at);
            else first = (size_t)(mark - start);
        }
        count(client, mark, now);
        found++;
        at = mark + MARK_LEN;
    }
    if (found) tail = (size_t)(end - at);
    return found;
}

static void reply(struct Client *client, const char *bytes, size_t len) {
    if (write(client->fd, bytes, len) != (ssize_t)len) keep(first_error, sizeof first_error, "a short write", 13);
}

static void acknowledged(struct Client *client) {
    if (client->state == SUBSCRIBING && ++client->acks == acks_wanted) {
        client->state = READY;
        n_ready++;
        n_in_flight--;
    }
}

static void message(struct Client *client, const char *text, size_t len, uint64_t now) {
    window.frames++;
    if (scan(client, text, len, now)) return;
    if (memmem(text, len, ack_text, strlen(ack_text))) {
        acknowledged(client);
    } else {
        others++;
        keep(first_other, sizeof first_other, text, len);
    }
}

/* Each takes one whole message off the front and gives its size; 0: it is not all there; -1: the peer is done. */
static ssize_t take_frame(struct Client *client, const char *at, size_t len, uint64_t now) {
    if (len < 2) return 0;
    const unsigned char *head = (const unsigned char *)at;
    size_t size = head[1] & 127, skip = 2;
    if (size == 126) {
        if (len < 4) return 0;
        size = (size_t)head[2] << 8 | head[3];
        skip = 4;
    } else if (size == 127) {
        if (len < 10) return 0;
        size = 0;
        for (int i = 2; i < 10; i++) size = size << 8 | head[i];
        skip = 10;
    }
    if (len < skip + size) return 0;
    int opcode = head[0] & 15;
    if (opcode == 8) {
        keep(first_other, sizeof first_other, at + skip + 2, size > 2 ? size - 2 : 0);
        return -1;
    }
    if (opcode == 9 && size < 126) { /* the mask is 0: the bytes stay as they are */
        char pong[6 + 125] = {(char)0x8A, (char)(0x80 | size)};
        memcpy(pong + 6, at + skip, size);
        reply(client, pong, 6 + size);
    } else if (opcode <= 2) {
        message(client, at + skip, size, now);
    }
    return (ssize_t)(skip + size);
}

static ssize_t take_nats(struct Client *client, const char *at, size_t len, uint64_t now) {
    const char *line = memmem(at, len, "\r\n", 2);
    if (!line) return 0;
    size_t head = (size_t)(line - at) + 2;
    if (!memcmp(at, "MSG ", 4)) {
        const char *size_at = line;
        while (size_at[-1] != ' ') size_at--;
        size_t size = strtoul(size_at, NULL, 10);
        if (len < head + size + 2) return 0;
        message(client, at + head, size, now);
        return (ssize_t)(head + size + 2);
    }
    if (!memcmp(at, "PONG", 4)) acknowledged(client);
    else if (!memcmp(at, "PING", 4)) reply(client, "PONG\r\n", 6);
    else if (at[0] == '-') keep(first_other, sizeof first_other, at, head);
    return (ssize_t)head;
}

static ssize_t take_upgrade(struct Client *client, const char *at, size_t len) {
    const char *end = memmem(at, len, "\r\n\r\n", 4);
    if (!end) return 0;
    if (len < 12 || memcmp(at + 9, "101", 3)) {
        keep(first_error, sizeof first_error, at, (size_t)(end - at));
        return -1;
    }
    client->state = SUBSCRIBING;
    reply(client, hello, hello_len);
    return end + 4 - at;
}

/* -- connections -------------------------------------------------------------------------------------------------- */

static void closed(struct Client *client) {
    close(client->fd);
    client->rest_len = 0;
    if (client->state == READY) {
        n_ready--;
        n_lost++;
        client->state = LOST;
        return;
    }
    n_in_flight--;
    errors++;
    client->acks = 0;
    client->state = IDLE;
}

static void connect_one(struct Client *client) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client->fd < 0) die("socket");
    int on = 1;
    struct linger reset = {1, 0}; /* else thousands of ports wait out their time after each round */
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    client->state = CONNECTING;
    n_in_flight++;
    if (connect(client->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS) {
        keep(first_error, sizeof first_error, strerror(errno), strlen(strerror(errno)));
        closed(client);
        return;
    }
    struct epoll_event event = {EPOLLOUT, {.ptr = client}};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event)) die("epoll_ctl");
}

static void connected(struct Client *client) {
    int problem = 0;
    socklen_t len = sizeof problem;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &problem, &len);
    if (problem) {
        keep(first_error, sizeof first_error, strerror(problem), strlen(strerror(problem)));
        closed(client);
        return;
    }
    struct epoll_event event = {EPOLLIN, {.ptr = client}};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &event)) die("epoll_ctl");
    if (nats) {
        client->state = SUBSCRIBING;
        reply(client, hello, hello_len);
        return;
    }
    char request[512];
    int size = snprintf(request, sizeof request,
                        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                        path, port);
    client->state = UPGRADING;
    reply(client, request, (size_t)size);
}

static void readable(struct Client *client) {
    static char *buffer;
    if (!buffer && !(buffer = malloc(BUFFER))) die("malloc");
    if (client->rest_len > BUFFER - READ) die("a frame larger than 7 MB");
    memcpy(buffer, client->rest, client->rest_len);
    ssize_t got = recv(client->fd, buffer + client->rest_len, READ, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        const char *why = got ? strerror(errno) : "closed without an answer";
        if (client->state != READY) keep(first_error, sizeof first_error, why, strlen(why));
        closed(client);
        return;
    }
    uint64_t now = now_ns();
    window.reads++;
    window.bytes += (uint64_t)got;
    size_t len = client->rest_len + (size_t)got, at = 0;
    while (at < len) {
        ssize_t taken = client->state == UPGRADING ? take_upgrade(client, buffer + at, len - at)
                        : nats                     ? take_nats(client, buffer + at, len - at, now)
                                                   : take_frame(client, buffer + at, len - at, now);
        if (taken < 0) {
            closed(client);
            return;
        }
        if (!taken) break;
        at += (size_t)taken;
    }
    client->rest_len = len - at;
    if (client->rest_len > client->rest_room) {
        client->rest_room = client->rest_len;
        client->rest = realloc(client->rest, client->rest_room);
        if (!client->rest) die("realloc");
    }
    memcpy(client->rest, buffer + at, client->rest_len);
}

static int pump(int timeout_ms) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(epoll, events, EVENTS, timeout_ms), order = 0;
    for (int i = 0; i < n; i++) {
        struct Client *client = events[i].data.ptr;
        if (!client) order = 1;
        else if (client->state == CONNECTING) connected(client);
        else readable(client);
    }
    return order;
}

/* -- orders ------------------------------------------------------------------------------------------------------- */

static void say(const char *text, size_t len) {
    if (hello_len + len + 16 > sizeof hello) die("say");
    char *to = hello + hello_len;
    if (!nats) { /* masked, by 0 */
        *to++ = (char)0x81;
        if (len < 126) {
            *to++ = (char)(0x80 | len);
        } else {
            if (len > 65535) die("say");
            *to++ = (char)(0x80 | 126);
            *to++ = (char)(len >> 8);
            *to++ = (char)len;
        }
        memset(to, 0, 4);
        to += 4;
    }
    memcpy(to, text, len);
    to += len;
    if (nats) {
        *to++ = '\r';
        *to++ = '\n';
    }
    hello_len = (size_t)(to - hello);
}

static void open_all(double seconds) {
    uint64_t begun = now_ns(), until = begun + (uint64_t)(seconds * 1e9);
    int at = 0;
    while (n_ready < n_clients && now_ns() < until) {
        for (int tried = 0; n_in_flight < IN_FLIGHT && tried < n_clients; tried++, at = (at + 1) % n_clients)
            if (clients[at].state == IDLE) connect_one(&clients[at]);
        if (!n_in_flight) usleep(10000); /* refused at once: not a storm */
        pump(10);
    }
    double took = (double)(now_ns() - begun) / 1e9;
    printf("{\"connected\":%d,\"seconds\":%.4f,\"errors\":%lu,\"first_error\":\"%s\",\"first_other\":\"%s\"}\n", n_ready,
           took, errors, first_error, first_other);
}

static double percentile(double share) {
    uint64_t rank = (uint64_t)((double)window.messages * share), seen = 0;
    for (int i = 0; i < BUCKETS; i++) {
        seen += window.histogram[i];
        if (seen > rank) return bucket_ms(i);
    }
    return 0;
}

static void end_window(void) {
    double seconds = (double)(now_ns() - window.begun) / 1e9, cpu = (double)(cpu_ns() - window.cpu) / 1e9;
    printf("{\"seconds\":%.4f,\"cpu\":%.4f,\"messages\":%lu,\"frames\":%lu,\"bytes\":%lu,\"reads\":%lu,", seconds, cpu,
           window.messages, window.frames, window.bytes, window.reads);
    printf("\"p50\":%.4f,\"p99\":%.4f,\"p999\":%.4f}\n", percentile(0.5), percentile(0.99), percentile(0.999));
}

static void finish(uint64_t total, uint64_t ms) {
    uint64_t until = now_ns() + ms * 1000000u, expected = total * (uint64_t)n_clients;
    while (delivered < expected && now_ns() < until) pump(5);
    uint64_t owed = 0;
    for (int c = 0; c < n_clients; c++)
        for (int t = 0; t < n_topics; t++) {
            uint64_t due = total / (uint64_t)n_topics + ((uint64_t)t < total % (uint64_t)n_topics);
            if (due > clients[c].next[t]) owed += due - clients[c].next[t];
        }
    printf("{\"delivered\":%lu,\"expected\":%lu,\"missing\":%lu,\"owed\":%lu,\"disordered\":%lu,\"lost\":%d,\"others\":%lu,"
           "\"first_other\":\"%s\"}\n",
           delivered, expected, missed, owed, disordered, n_lost, others, first_other);
}

static void obey(char *line) {
    double seconds;
    unsigned long total, ms;
    if (!strncmp(line, "say ", 4)) {
        say(line + 4, strlen(line + 4));
        return;
    }
    if (sscanf(line, "open %lf", &seconds) == 1) {
        open_all(seconds);
    } else if (sscanf(line, "finish %lu %lu", &total, &ms) == 2) {
        finish(total, ms);
    } else if (!strcmp(line, "begin")) {
        memset(&window, 0, sizeof window);
        window.begun = now_ns();
        window.cpu = cpu_ns();
        printf("{}\n");
    } else if (!strcmp(line, "end")) {
        end_window();
    } else {
        errno = EINVAL;
        die(line);
    }
    fflush(stdout);
}

/* Obey every whole line that has come. The end of input is the end of us. */
static void read_orders(void) {
    static char input[1 << 20];
    static size_t len;
    ssize_t got = read(0, input + len, sizeof input - len);
    if (got <= 0) exit(0);
    len += (size_t)got;
    char *at = input, *end;
    while ((end = memchr(at, '\n', len - (size_t)(at - input)))) {
        *end = 0;
        obey(at);
        at = end + 1;
    }
    len -= (size_t)(at - input);
    memmove(input, at, len);
}

int main(int argc, char **argv) {
    if (argc != 8) {
        fprintf(stderr, "usage: sink ws|nats PORT CLIENTS TOPICS PATH ACKS ACK_TEXT\n");
        return 2;
    }
    nats = !strcmp(argv[1], "nats");
    port = atoi(argv[2]);
    n_clients = atoi(argv[3]);
    n_topics = atoi(argv[4]);
    path = argv[5];
    acks_wanted = atoi(argv[6]);
    ack_text = argv[7];
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    clients = calloc((size_t)n_clients, sizeof *clients);
    uint32_t *next = calloc((size_t)n_clients * (size_t)n_topics, sizeof *next);
    if (!clients || !next) die("calloc");
    for (int c = 0; c < n_clients; c++) clients[c].next = next + (size_t)c * (size_t)n_topics;
    epoll = epoll_create1(0);
    struct epoll_event orders = {EPOLLIN, {.ptr = NULL}};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &orders)) die("epoll_ctl");
    for (;;)
        if (pump(-1)) read_orders();
}
