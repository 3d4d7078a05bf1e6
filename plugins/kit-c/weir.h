/* The kit for Weir plugins in C: records instead of columns, settings that are checked, and the
 * exports of a component. It needs no C library: only clang and wasm-ld.
 *
 * A plugin defines one of WEIR_FILTER, WEIR_KEY, WEIR_ROUTE, WEIR_TRANSFORM, WEIR_PROJECT and
 * WEIR_RETRY_POLICY before it includes this file, and then two functions:
 *
 *     #define WEIR_FILTER
 *     #include "weir.h"
 *
 *     static weir_text tag;
 *
 *     bool weir_configure(weir_config *config, weir_columns *columns) {
 *         weir_header(columns, "tag");
 *         return weir_require(config, "tag", &tag);
 *     }
 *
 *     bool weir_keep(const weir_record *record, bool *keep) {
 *         weir_text found;
 *         *keep = weir_record_header(record, "tag", &found) && weir_equal(found, tag);
 *         return true;
 *     }
 *
 * | hook         | function                                                        |
 * |--------------|-----------------------------------------------------------------|
 * | filter       | weir_keep(record, bool *keep)                                   |
 * | key          | weir_key(record, weir_text *key), NULL bytes: needs no order    |
 * | route        | weir_route(record, uint64_t *routes), bit i: the i-th route     |
 * | transform    | weir_transform(record, weir_out *out), told nothing: drops it   |
 * | project      | weir_project(record, weir_out *view), told nothing: as it is    |
 * | retry-policy | weir_decide(record, const weir_failure *, weir_decision *)      |
 *
 * A function that returns false says why before: `return weir_fail("…")`. In weir_configure that
 * refuses the binding, elsewhere it is the error of that record. Memory from weir_alloc lasts for
 * the call that it was taken in, and from weir_configure for the life of the instance.
 *
 * Compiled for another target than wasm32, there are no exports: see weir_test.h.
 */
#ifndef WEIR_H
#define WEIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that lie somewhere else; not terminated by a zero. */
typedef struct {
    const uint8_t *bytes;
    size_t length;
} weir_text;

typedef struct {
    weir_text name, value;
} weir_setting;

/* What a plugin may declare at most; the host's limit for headers, and generous ones. */
enum { WEIR_HEADERS_MAX = 32, WEIR_SETTINGS_KNOWN_MAX = 32, WEIR_ROUTES_MAX = 64 };

/* The settings of a binding, and its declared routes (hook route only). */
typedef struct {
    const weir_setting *settings;
    size_t count;
    const weir_text *routes;
    size_t route_count;
    struct {
        weir_text name;
        bool repeats;
    } known[WEIR_SETTINGS_KNOWN_MAX];
    size_t known_count;
} weir_config;

/* The columns that the host supplies: those that were asked for, and no others. */
typedef struct {
    bool key, value, timestamp;
    weir_text headers[WEIR_HEADERS_MAX];
    size_t header_count;
} weir_columns;

/* A batch as the contract has it, wit/weir.wit. */
typedef struct {
    const weir_columns *columns;
    uint32_t count;
    const uint8_t *arena;
    const uint32_t *spans;
    const int64_t *timestamps;
} weir_batch;

typedef struct {
    const weir_batch *batch;
    uint32_t index;
} weir_record;

typedef struct {
    uint32_t attempt;
    weir_text message;
} weir_failure;

/* What happens to a record after a delivery that failed. */
typedef struct {
    uint8_t tag; /* WEIR_DELAY, WEIR_DEAD_LETTER, WEIR_PARK_KEY */
    uint64_t milliseconds;
} weir_decision;
enum { WEIR_DELAY = 0, WEIR_DEAD_LETTER = 1, WEIR_PARK_KEY = 2 };

enum { WEIR_DEBUG = 0, WEIR_INFO = 1, WEIR_WARN = 2, WEIR_ERROR = 3 };

#define WEIR_ABSENT 0xffffffffu
#define WEIR_UNCHANGED 0xfffffffeu

/* ---- Provided by weir_memory.h, which knows the target. ---- */

void *weir_alloc(size_t size);
void weir_log(uint32_t level, weir_text message);
_Noreturn void weir_trap(const char *why);

/* ---- Texts ---- */

static inline size_t weir_strlen(const char *text) {
    size_t length = 0;
    while (text[length] != 0) length++;
    return length;
}

static inline weir_text weir_of(const char *text) {
    return (weir_text){(const uint8_t *)text, weir_strlen(text)};
}

static inline bool weir_equal(weir_text one, weir_text other) {
    if (one.length != other.length) return false;
    for (size_t at = 0; at < one.length; at++) {
        if (one.bytes[at] != other.bytes[at]) return false;
    }
    return true;
}

/* The texts one after the other; the list ends with NULL bytes. */
static inline weir_text weir_concat(const weir_text *parts) {
    size_t length = 0;
    for (const weir_text *part = parts; part->bytes != NULL; part++) length += part->length;
    uint8_t *bytes = weir_alloc(length + 1), *end = bytes;
    for (const weir_text *part = parts; part->bytes != NULL; part++) {
        for (size_t at = 0; at < part->length; at++) *end++ = part->bytes[at];
    }
    return (weir_text){bytes, length};
}
#define WEIR_TEXTS(...) weir_concat((const weir_text[]){__VA_ARGS__, {NULL, 0}})

/* ---- Errors ---- */

static weir_text weir_error;

/* Keeps the sentence, and returns false so that a function can end with it. */
static inline bool weir_fail_text(weir_text why) {
    weir_error = why;
    return false;
}

static inline bool weir_fail(const char *why) { return weir_fail_text(weir_of(why)); }

/* ---- Settings ---- */

static inline void weir_know(weir_config *config, const char *name, bool repeats) {
    for (size_t at = 0; at < config->known_count; at++) {
        if (weir_equal(config->known[at].name, weir_of(name))) {
            config->known[at].repeats |= repeats;
            return;
        }
    }
    if (config->known_count == WEIR_SETTINGS_KNOWN_MAX) weir_trap("more than 32 settings");
    config->known[config->known_count].name = weir_of(name);
    config->known[config->known_count++].repeats = repeats;
}

/* Whether the setting was given; then `value` is what it was given as. */
static inline bool weir_optional(weir_config *config, const char *name, weir_text *value) {
    weir_know(config, name, false);
    for (size_t at = 0; at < config->count; at++) {
        if (weir_equal(config->settings[at].name, weir_of(name))) {
            *value = config->settings[at].value;
            return true;
        }
    }
    return false;
}

/* The setting; fails with a sentence if it was not given. */
static inline bool weir_require(weir_config *config, const char *name, weir_text *value) {
    if (weir_optional(config, name, value)) return true;
    weir_text text = weir_of(name);
    return weir_fail_text(WEIR_TEXTS(weir_of("setting `"), text,
                                     weir_of("` is missing: bind with --config "), text,
                                     weir_of("=…")));
}

/* The value of a setting that may be given several times, from the `at`-th setting on; `at` then
 * stands behind it. Begin with 0, until it returns false. */
static inline bool weir_every(weir_config *config, const char *name, size_t *at,
                              weir_text *value) {
    weir_know(config, name, true);
    while (*at < config->count) {
        const weir_setting *setting = &config->settings[(*at)++];
        if (weir_equal(setting->name, weir_of(name))) {
            *value = setting->value;
            return true;
        }
    }
    return false;
}

static inline bool weir_not_known(const weir_config *config, weir_text name) {
    weir_text names = weir_of(config->known_count == 0 ? "none" : "");
    for (size_t at = 0; at < config->known_count; at++) {
        names = WEIR_TEXTS(names, weir_of(at == 0 ? "" : ", "), config->known[at].name);
    }
    return weir_fail_text(WEIR_TEXTS(weir_of("setting `"), name,
                                     weir_of("` is not known; this plugin's settings: "),
                                     names));
}

/* Refuses settings that nothing asked for, and those given twice that may not be. */
static inline bool weir_finish(const weir_config *config) {
    for (size_t at = 0; at < config->count; at++) {
        weir_text name = config->settings[at].name;
        size_t known = 0;
        while (known < config->known_count && !weir_equal(config->known[known].name, name)) {
            known++;
        }
        if (known == config->known_count) return weir_not_known(config, name);
        for (size_t earlier = 0; earlier < at; earlier++) {
            if (config->known[known].repeats) break;
            if (weir_equal(config->settings[earlier].name, name)) {
                return weir_fail_text(
                    WEIR_TEXTS(weir_of("setting `"), name, weir_of("` was given twice")));
            }
        }
    }
    return true;
}

/* Which of the declared routes has that name; -1 if none. */
static inline int weir_route_named(const weir_config *config, weir_text name) {
    for (size_t at = 0; at < config->route_count; at++) {
        if (weir_equal(config->routes[at], name)) return (int)at;
    }
    return -1;
}

/* ---- Columns and records ---- */

static inline void weir_header(weir_columns *columns, const char *name) {
    for (size_t at = 0; at < columns->header_count; at++) {
        if (weir_equal(columns->headers[at], weir_of(name))) return;
    }
    if (columns->header_count == WEIR_HEADERS_MAX) weir_trap("more than 32 headers");
    columns->headers[columns->header_count++] = weir_of(name);
}

/* Whether the record has something in that column. */
static inline bool weir_column(const weir_record *record, size_t column, weir_text *found) {
    const weir_batch *batch = record->batch;
    const uint32_t *span = batch->spans + 2 * (column * batch->count + record->index);
    if (span[1] == WEIR_ABSENT) return false;
    *found = (weir_text){batch->arena + span[0], span[1]};
    return true;
}

static inline bool weir_record_key(const weir_record *record, weir_text *key) {
    if (!record->batch->columns->key) weir_trap("set columns->key in weir_configure");
    return weir_column(record, 0, key);
}

/* False for a tombstone. */
static inline bool weir_record_value(const weir_record *record, weir_text *value) {
    const weir_columns *columns = record->batch->columns;
    if (!columns->value) weir_trap("set columns->value in weir_configure");
    return weir_column(record, columns->key, value);
}

/* The last header of that name. */
static inline bool weir_record_header(const weir_record *record, const char *name,
                                      weir_text *value) {
    const weir_columns *columns = record->batch->columns;
    for (size_t at = 0; at < columns->header_count; at++) {
        if (weir_equal(columns->headers[at], weir_of(name))) {
            return weir_column(record, (size_t)columns->key + columns->value + at, value);
        }
    }
    weir_trap("ask for the header with weir_header in weir_configure");
}

/* Milliseconds since the Unix epoch. */
static inline int64_t weir_record_timestamp(const weir_record *record) {
    if (!record->batch->columns->timestamp) {
        weir_trap("set columns->timestamp in weir_configure");
    }
    return record->batch->timestamps[record->index];
}

/* ---- What a plugin provides ---- */

bool weir_configure(weir_config *config, weir_columns *columns);

#include "weir_memory.h"
#include "weir_hooks.h"

#endif
