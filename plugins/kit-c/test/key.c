/* The hook key, and everything that a record can have. */

#define WEIR_KEY
#include "../weir.h"
#include "../weir_test.h"

static weir_text is;

bool weir_configure(weir_config *config, weir_columns *columns) {
    columns->key = columns->value = columns->timestamp = true;
    weir_header(columns, "tag");
    weir_header(columns, "tag");
    size_t at = 0;
    while (weir_every(config, "is", &at, &is)) {
    }
    return true;
}

/* "key,value,tag" where there are all three; an error where the timestamp is negative. */
bool weir_key(const weir_record *record, weir_text *key) {
    weir_text own, value, tag;
    if (weir_record_timestamp(record) < 0) return weir_fail("before the epoch");
    bool whole = weir_record_key(record, &own) && weir_record_value(record, &value) &&
                 weir_record_header(record, "tag", &tag);
    if (whole) *key = WEIR_TEXTS(own, weir_of(","), value, weir_of(","), tag);
    return true;
}

int main(void) {
    CHECK(BIND("is", "a", "is", "b"));
    CHECK(weir_equal(is, weir_of("b")) && weir_asked.header_count == 1);
    const weir_sample samples[] = {{"k", "v", "t", 1}, {"k", NULL, "t", 1}, {"", "", "", 0}};
    weir_batch batch = weir_batch_of(samples, 3);
    weir_buffer keys = {0};
    uint32_t spans[6];
    CHECK(weir_answer_keys(&batch, &keys, spans));
    CHECK(keys.length == 7 && memcmp(keys.bytes, "k,v,t,,", 7) == 0);
    const uint32_t expected[6] = {0, 5, 5, WEIR_ABSENT, 5, 2};
    CHECK(memcmp(spans, expected, sizeof spans) == 0);

    const weir_sample early = {.timestamp = -1};
    batch = weir_batch_of(&early, 1);
    CHECK(!weir_answer_keys(&batch, &keys, spans));
    CHECK(weir_said("before the epoch"));
    puts("key: all checks passed");
    return 0;
}
