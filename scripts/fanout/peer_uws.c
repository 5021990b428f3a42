/* The peer "uws": uWebSockets with its own publish and subscribe, compression off. See servers.py for what a peer does.
 *
 *     peer_uws PORT FEED_PORT LIBRARY
 *
 * LIBRARY is the uWebSockets that the Python package socketify brings, behind a C interface; no Python runs here. The
 * feed is read by a second thread, because the library offers no plain TCP; its work is counted like the rest.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { TEXT = 1, BACKPRESSURE = 256 << 20, FEED_ROOM = 1 << 20 };

/* As declared in socketify/native.py. */
struct Options {
    const char *key_file_name, *cert_file_name, *passphrase, *dh_params_file_name, *ca_file_name, *ssl_ciphers;
    int ssl_prefer_low_memory_usage;
};
struct Behaviour {
    int compression;
    unsigned int max_payload;
    unsigned short idle_timeout;
    unsigned int max_backpressure;
    bool close_on_backpressure, reset_idle_on_send, send_pings;
    unsigned short max_lifetime;
    void *upgrade, *open;
    void (*message)(void *client, const char *text, size_t len, int opcode, void *);
    void *drain, *ping, *pong, *close, *subscription;
};
struct Place {
    int port;
    const char *host;
    int options;
};
static void *(*create_loop)(void), *(*native_loop)(void *), *(*get_loop)(void *), *(*create_app)(int, struct Options);
static void (*ws)(int, void *app, const char *pattern, struct Behaviour, void *);
static void (*listen_on)(int, void *app, struct Place, void (*)(void *, struct Place, void *), void *);
static bool (*subscribe)(int, void *client, const char *topic, size_t len);
static int (*ws_send)(int, void *client, const char *text, size_t len, int opcode);
static bool (*publish)(int, void *app, const char *, size_t, const char *, size_t, int opcode, bool compress);
static void (*defer)(void *loop, void (*call)(void *), void *);
static int (*run)(void *loop, int mode);

static void *app, *loop;
static int feed_port;

static void die(const char *why) {
    perror(why);
    exit(1);
}

static void *symbol(void *library, const char *name) {
    void *found = dlsym(library, name);
    if (!found) die(name);
    return found;
}

static void command(void *client, const char *text, size_t len, int opcode, void *_) {
    (void)opcode;
    (void)_;
    for (size_t at = sizeof "subscribe"; at + 4 <= len; at += 5) subscribe(0, client, text + at, 4);
    ws_send(0, client, "ok", 2, TEXT);
}

static void listening(void *socket, struct Place place, void *_) {
    (void)place;
    (void)_;
    if (!socket) die("listen");
}

/* In the loop's thread: a block of whole lines. */
static void take(void *block) {
    for (char *at = block, *end; (end = strchr(at, '\n')); at = end + 1)
        publish(0, app, at, 4, at + 5, (size_t)(end - at) - 5, TEXT, false);
    free(block);
}

static void *feed(void *_) {
    static char input[FEED_ROOM];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)feed_port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listening = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listening, (struct sockaddr *)&at, sizeof at) || listen(listening, 8)) die("listen");
    for (;;) {
        int one = accept(listening, NULL, NULL);
        size_t len = 0;
        for (ssize_t got; (got = read(one, input + len, sizeof input - len)) > 0;) {
            len += (size_t)got;
            char *last = memrchr(input, '\n', len);
            if (!last) continue;
            size_t whole = (size_t)(last + 1 - input);
            char *block = malloc(whole + 1);
            if (!block) die("malloc");
            memcpy(block, input, whole);
            block[whole] = 0;
            defer(loop, take, block);
            len -= whole;
            memmove(input, input + whole, len);
        }
        close(one);
    }
    return _;
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    void *library = dlopen(argv[3], RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    create_loop = symbol(library, "socketify_create_loop");
    native_loop = symbol(library, "socketify_get_native_loop");
    run = symbol(library, "socketify_loop_run");
    get_loop = symbol(library, "uws_get_loop_with_native");
    create_app = symbol(library, "uws_create_app");
    ws = symbol(library, "uws_ws");
    listen_on = symbol(library, "uws_app_listen_with_config");
    subscribe = symbol(library, "uws_ws_subscribe");
    ws_send = symbol(library, "uws_ws_send");
    publish = symbol(library, "uws_publish");
    defer = symbol(library, "uws_loop_defer");
    feed_port = atoi(argv[2]);
    void *own = create_loop();
    loop = get_loop(native_loop(own));
    app = create_app(0, (struct Options){0});
    struct Behaviour behaviour = {
        .max_payload = 1 << 16, .idle_timeout = 600, .max_backpressure = BACKPRESSURE, .message = command};
    ws(0, app, "/*", behaviour, NULL);
    listen_on(0, app, (struct Place){atoi(argv[1]), "127.0.0.1", 0}, listening, NULL);
    pthread_t thread;
    if (pthread_create(&thread, NULL, feed, NULL)) die("pthread_create");
    return run(own, 0);
}
