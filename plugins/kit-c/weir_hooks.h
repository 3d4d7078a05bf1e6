/* From batches to answers, hook by hook, and the exports with their canonical layout. Included by
 * weir.h. On wasm32 the structs here are laid out as the contract's lists and records are. */
#ifndef WEIR_HOOKS_H
#define WEIR_HOOKS_H

static weir_config weir_settings; /* lives on: a plugin may keep pointers into it */
static weir_columns weir_asked;

static bool weir_setup(const weir_setting *settings, size_t count, const weir_text *routes,
                       size_t route_count) {
    if (route_count > WEIR_ROUTES_MAX) return weir_fail("a binding has at most 64 routes");
    weir_settings = (weir_config){0};
    weir_settings.settings = settings;
    weir_settings.count = count;
    weir_settings.routes = routes;
    weir_settings.route_count = route_count;
    weir_asked = (weir_columns){0};
    return weir_configure(&weir_settings, &weir_asked) && weir_finish(&weir_settings);
}

/* Bytes that grow. */
typedef struct {
    uint8_t *bytes;
    size_t length, room;
} weir_buffer;

static inline void *weir_append(weir_buffer *buffer, const void *from, size_t size) {
    if (buffer->room - buffer->length < size) {
        size_t room = 2 * buffer->room + size + 256;
        uint8_t *bytes = weir_alloc(room);
        for (size_t at = 0; at < buffer->length; at++) bytes[at] = buffer->bytes[at];
        buffer->bytes = bytes;
        buffer->room = room;
    }
    uint8_t *end = buffer->bytes + buffer->length;
    for (size_t at = 0; at < size; at++) end[at] = ((const uint8_t *)from)[at];
    buffer->length += size;
    return end;
}

#ifdef __wasm__

#define WEIR_EXPORT(name) __attribute__((export_name("weir:plugin/" name)))
#define WEIR_BATCH_PARAMETERS                                                                 \
    uint32_t count, const uint8_t *arena, size_t arena_length, const uint32_t *spans,          \
        size_t span_count, uint32_t has_timestamps, const int64_t *timestamps,                 \
        size_t timestamp_count
#define WEIR_BATCH {&weir_asked, count, arena, spans, timestamps}

/* The host promises these lengths; what a record has is bounded by its own span. */
static void weir_unused(size_t arena_length, size_t span_count, uint32_t has_timestamps,
                        size_t timestamp_count) {
    (void)arena_length, (void)span_count, (void)has_timestamps, (void)timestamp_count;
}

/* result<…, string>: an error, or up to five lists. */
typedef struct {
    uint8_t failed;
    weir_text lists[5];
} weir_result;

static weir_result weir_answer;

static weir_result *weir_ends(bool worked) {
    weir_answer.failed = !worked;
    if (!worked) weir_answer.lists[0] = weir_error;
    weir_call_ends();
    return &weir_answer;
}

/* result<projection, string> */
static struct {
    uint8_t failed;
    union {
        struct {
            bool key, value, timestamp;
            const weir_text *headers;
            size_t header_count;
        } projection;
        weir_text error;
    };
} weir_configured;

/* The hooks by their numbers in the contract. */
static const char *const weir_hooks[] = {"transform", "route",   "key",
                                         "filter",    "project", "retry-policy"};

static bool weir_fail_hook(uint32_t asked, uint32_t own) {
    return weir_fail_text(WEIR_TEXTS(weir_of("this component has no hook "),
                                     weir_of(weir_hooks[asked]),
                                     weir_of("; bind it as what it has: "),
                                     weir_of(weir_hooks[own])));
}

static void *weir_export_configure(uint32_t asked, uint32_t own, const weir_setting *settings,
                                   size_t count, const weir_text *routes, size_t route_count) {
    bool worked = asked == own ? weir_setup(settings, count, routes, route_count)
                               : weir_fail_hook(asked, own);
    weir_configured.failed = !worked;
    if (worked) {
        weir_configured.projection.key = weir_asked.key;
        weir_configured.projection.value = weir_asked.value;
        weir_configured.projection.timestamp = weir_asked.timestamp;
        weir_configured.projection.headers = weir_asked.headers;
        weir_configured.projection.header_count = weir_asked.header_count;
    } else {
        weir_configured.error = weir_error;
    }
    weir_keep_all();
    return &weir_configured;
}

#define WEIR_CONFIGURE(number)                                                                \
    WEIR_EXPORT("lifecycle@1.0.0#configure")                                                  \
    void *weir_lifecycle_configure(uint32_t hook, const weir_setting *settings, size_t count,  \
                                   const weir_text *routes, size_t route_count) {              \
        return weir_export_configure(hook, number, settings, count, routes, route_count);      \
    }

#endif

/* ---- filter ---- */
#ifdef WEIR_FILTER

bool weir_keep(const weir_record *record, bool *keep);

static bool weir_answer_filter(const weir_batch *batch, uint8_t *kept) {
    weir_record record = {batch, 0};
    for (; record.index < batch->count; record.index++) {
        bool keep = false;
        if (!weir_keep(&record, &keep)) return false;
        kept[record.index] = keep;
    }
    return true;
}

#ifdef __wasm__
WEIR_CONFIGURE(3)
WEIR_EXPORT("filter@1.0.0#filter") void *weir_export_filter(WEIR_BATCH_PARAMETERS) {
    weir_batch batch = WEIR_BATCH;
    weir_unused(arena_length, span_count, has_timestamps, timestamp_count);
    uint8_t *kept = weir_alloc(count);
    weir_answer.lists[0] = (weir_text){kept, count};
    return weir_ends(weir_answer_filter(&batch, kept));
}
#endif
#endif

/* ---- key ---- */
#ifdef WEIR_KEY

bool weir_key(const weir_record *record, weir_text *key);

static bool weir_answer_keys(const weir_batch *batch, weir_buffer *keys, uint32_t *spans) {
    weir_record record = {batch, 0};
    for (; record.index < batch->count; record.index++) {
        weir_text key = {NULL, 0};
        if (!weir_key(&record, &key)) return false;
        spans[2 * record.index] = (uint32_t)keys->length;
        spans[2 * record.index + 1] = key.bytes == NULL ? WEIR_ABSENT : (uint32_t)key.length;
        if (key.bytes != NULL) weir_append(keys, key.bytes, key.length);
    }
    return true;
}

#ifdef __wasm__
WEIR_CONFIGURE(2)
WEIR_EXPORT("ordering-key@1.0.0#keys") void *weir_export_keys(WEIR_BATCH_PARAMETERS) {
    weir_batch batch = WEIR_BATCH;
    weir_unused(arena_length, span_count, has_timestamps, timestamp_count);
    weir_buffer keys = {0};
    uint32_t *found = weir_alloc(8 * count);
    bool worked = weir_answer_keys(&batch, &keys, found);
    weir_answer.lists[0] = (weir_text){keys.bytes, keys.length};
    weir_answer.lists[1] = (weir_text){(const uint8_t *)found, 2 * count};
    return weir_ends(worked);
}
#endif
#endif

/* ---- route ---- */
#ifdef WEIR_ROUTE

bool weir_route(const weir_record *record, uint64_t *routes);

static bool weir_answer_routes(const weir_batch *batch, uint64_t *sets) {
    weir_record record = {batch, 0};
    for (; record.index < batch->count; record.index++) {
        sets[record.index] = 0;
        if (!weir_route(&record, &sets[record.index])) return false;
    }
    return true;
}

#ifdef __wasm__
WEIR_CONFIGURE(1)
WEIR_EXPORT("router@1.0.0#route") void *weir_export_route(WEIR_BATCH_PARAMETERS) {
    weir_batch batch = WEIR_BATCH;
    weir_unused(arena_length, span_count, has_timestamps, timestamp_count);
    uint64_t *sets = weir_alloc(8 * count);
    weir_answer.lists[0] = (weir_text){(const uint8_t *)sets, count};
    return weir_ends(weir_answer_routes(&batch, sets));
}
#endif
#endif

/* ---- transform and project ---- */
#if defined(WEIR_TRANSFORM) || defined(WEIR_PROJECT)

typedef struct {
    uint32_t output;
    weir_text name;
    uint8_t is_some;
    weir_text value;
} weir_header_change;

typedef struct {
    uint32_t index;
    weir_text reason;
} weir_rejection;

/* What becomes of the records of a batch. Changes are made to the output that was pushed last. */
typedef struct {
    uint32_t index;  /* of the record that is asked about */
    uint32_t output; /* how many outputs there are */
    weir_buffer source, data, spans, headers, rejected;
} weir_out;

/* The record goes on, once more for each call: as it is, until it is changed. */
static inline void weir_out_push(weir_out *out) {
    const uint32_t same[4] = {0, WEIR_UNCHANGED, 0, WEIR_UNCHANGED};
    weir_append(&out->source, &out->index, sizeof out->index);
    weir_append(&out->spans, same, sizeof same);
    out->output++;
}

static inline void weir_out_change(weir_out *out, size_t place, weir_text value) {
    if (out->output == 0) weir_trap("call weir_out_push first");
    uint32_t *span = (uint32_t *)out->spans.bytes + 4 * (out->output - 1) + place;
    span[0] = (uint32_t)out->data.length;
    span[1] = value.bytes == NULL ? WEIR_ABSENT : (uint32_t)value.length;
    if (value.bytes != NULL) weir_append(&out->data, value.bytes, value.length);
}

/* NULL bytes: it has none. */
static inline void weir_out_key(weir_out *out, weir_text key) { weir_out_change(out, 0, key); }
static inline void weir_out_value(weir_out *out, weir_text value) {
    weir_out_change(out, 2, value);
}

/* The output has this header once, with this value; with NULL bytes, it has it no more. The name
 * and the value have to last until the call ends. */
static inline void weir_out_header(weir_out *out, const char *name, weir_text value) {
    if (out->output == 0) weir_trap("call weir_out_push first");
    weir_header_change change = {out->output - 1, weir_of(name), value.bytes != NULL, value};
    weir_append(&out->headers, &change, sizeof change);
}

/* The record is refused: its producer sees the reason. It must have no outputs. */
static inline void weir_out_reject(weir_out *out, weir_text reason) {
    weir_rejection rejection = {out->index, reason};
    weir_append(&out->rejected, &rejection, sizeof rejection);
}

#ifdef WEIR_TRANSFORM
bool weir_transform(const weir_record *record, weir_out *out);
#else
bool weir_project(const weir_record *record, weir_out *view);
#endif

static bool weir_answer_mapped(const weir_batch *batch, weir_out *out) {
    weir_record record = {batch, 0};
    for (; record.index < batch->count; record.index++) {
        out->index = record.index;
#ifdef WEIR_TRANSFORM
        if (!weir_transform(&record, out)) return false;
#else
        weir_out_push(out);
        if (!weir_project(&record, out)) return false;
#endif
    }
    return true;
}

#ifdef __wasm__
#ifdef WEIR_TRANSFORM
WEIR_CONFIGURE(0)
#else
WEIR_CONFIGURE(4)
#endif
WEIR_EXPORT("mapper@1.0.0#apply") void *weir_export_apply(WEIR_BATCH_PARAMETERS) {
    weir_batch batch = WEIR_BATCH;
    weir_unused(arena_length, span_count, has_timestamps, timestamp_count);
    weir_out out = {0};
    bool worked = weir_answer_mapped(&batch, &out);
    weir_text *lists = weir_answer.lists;
    lists[0] = (weir_text){out.source.bytes, out.source.length / sizeof(uint32_t)};
    lists[1] = (weir_text){out.data.bytes, out.data.length};
    lists[2] = (weir_text){out.spans.bytes, out.spans.length / sizeof(uint32_t)};
    lists[3] = (weir_text){out.headers.bytes, out.headers.length / sizeof(weir_header_change)};
    lists[4] = (weir_text){out.rejected.bytes, out.rejected.length / sizeof(weir_rejection)};
    return weir_ends(worked);
}
#endif
#endif

/* ---- retry-policy ---- */
#ifdef WEIR_RETRY_POLICY

bool weir_decide(const weir_record *record, const weir_failure *failure,
                 weir_decision *decision);

static bool weir_answer_decisions(const weir_batch *batch, const weir_failure *failures,
                                  weir_decision *decisions) {
    weir_record record = {batch, 0};
    for (; record.index < batch->count; record.index++) {
        uint32_t at = record.index;
        decisions[at] = (weir_decision){WEIR_DELAY, 0};
        if (!weir_decide(&record, &failures[at], &decisions[at])) return false;
    }
    return true;
}

#ifdef __wasm__
WEIR_CONFIGURE(5)
WEIR_EXPORT("retry@1.0.0#decide") void *weir_export_decide(WEIR_BATCH_PARAMETERS,
                                                          const weir_failure *failures,
                                                          size_t failure_count) {
    weir_batch batch = WEIR_BATCH;
    weir_unused(arena_length, span_count, has_timestamps, timestamp_count);
    (void)failure_count;
    weir_decision *decisions = weir_alloc(sizeof(weir_decision) * count);
    weir_answer.lists[0] = (weir_text){(const uint8_t *)decisions, count};
    return weir_ends(weir_answer_decisions(&batch, failures, decisions));
}
#endif
#endif

#endif
