/* Runs a plugin natively, with the same columns and the same checks as in a broker. Include it
 * after the plugin's own file, and compile both with the host's compiler. */
#ifndef WEIR_TEST_H
#define WEIR_TEST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                      \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);           \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)

/* A record. NULL is absent; `header` is the value of the one header that tests are about. */
typedef struct {
    const char *key, *value, *header;
    int64_t timestamp;
} weir_sample;

/* Binds with settings as name, value, name, value, …, NULL. False if the plugin refuses them. */
static inline bool weir_bind_routes(const char *const *settings, const char *const *routes) {
    size_t count = 0, route_count = 0;
    while (settings[2 * count] != NULL) count++;
    while (routes[route_count] != NULL) route_count++;
    weir_setting *given = weir_alloc((count + 1) * sizeof *given);
    for (size_t at = 0; at < count; at++) {
        given[at] = (weir_setting){weir_of(settings[2 * at]), weir_of(settings[2 * at + 1])};
    }
    weir_text *names = weir_alloc((route_count + 1) * sizeof *names);
    for (size_t at = 0; at < route_count; at++) names[at] = weir_of(routes[at]);
    return weir_setup(given, count, names, route_count);
}

#define BIND(...) weir_bind_routes((const char *const[]){__VA_ARGS__, NULL}, weir_no_routes)
static const char *const weir_no_routes[] = {NULL};

/* Whether the sentence of the last refusal has these words in it. */
static inline bool weir_said(const char *words) {
    size_t length = strlen(words);
    for (size_t at = 0; at + length <= weir_error.length; at++) {
        if (memcmp(weir_error.bytes + at, words, length) == 0) return true;
    }
    fprintf(stderr, "said: %.*s\n", (int)weir_error.length, (const char *)weir_error.bytes);
    return false;
}

static inline void weir_test_column(weir_buffer *arena, uint32_t *span, const char *text) {
    span[0] = (uint32_t)arena->length;
    span[1] = text == NULL ? WEIR_ABSENT : (uint32_t)strlen(text);
    if (text != NULL) weir_append(arena, text, strlen(text));
}

/* The samples as the host would pass them. */
static inline weir_batch weir_batch_of(const weir_sample *samples, uint32_t count) {
    uint32_t *spans = weir_alloc((2 + WEIR_HEADERS_MAX) * 2 * sizeof *spans * count);
    int64_t *timestamps = weir_alloc(sizeof *timestamps * count);
    weir_buffer arena = {0};
    uint32_t *next = spans;
    for (uint32_t at = 0; weir_asked.key && at < count; at++, next += 2) {
        weir_test_column(&arena, next, samples[at].key);
    }
    for (uint32_t at = 0; weir_asked.value && at < count; at++, next += 2) {
        weir_test_column(&arena, next, samples[at].value);
    }
    for (size_t header = 0; header < weir_asked.header_count; header++) {
        for (uint32_t at = 0; at < count; at++, next += 2) {
            weir_test_column(&arena, next, samples[at].header);
        }
    }
    for (uint32_t at = 0; at < count; at++) timestamps[at] = samples[at].timestamp;
    return (weir_batch){&weir_asked, count, arena.bytes, spans, timestamps};
}

#endif
