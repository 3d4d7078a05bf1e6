/* The hook transform; project is the same but for what it begins with. */

#define WEIR_TRANSFORM
#include "../weir.h"
#include "../weir_test.h"

bool weir_configure(weir_config *config, weir_columns *columns) {
    (void)config;
    columns->value = true;
    return true;
}

bool weir_transform(const weir_record *record, weir_out *out) {
    weir_text value;
    if (!weir_record_value(record, &value)) {
        weir_out_reject(out, weir_of("nothing to halve"));
        return true;
    }
    if (value.length == 0) return true;
    size_t half = value.length / 2;
    weir_out_push(out);
    weir_out_value(out, (weir_text){value.bytes, half});
    weir_out_header(out, "half", weir_of("1"));
    weir_out_push(out);
    weir_out_key(out, (weir_text){NULL, 0});
    weir_out_value(out, (weir_text){value.bytes + half, value.length - half});
    weir_out_header(out, "x", (weir_text){NULL, 0});
    return true;
}

int main(void) {
    CHECK(weir_bind_routes((const char *const[]){NULL}, weir_no_routes));
    const weir_sample samples[] = {{.value = "abcd"}, {.value = NULL}, {.value = ""},
                                   {.value = "ef"}};
    weir_batch batch = weir_batch_of(samples, 4);
    weir_out out = {0};
    CHECK(weir_answer_mapped(&batch, &out));
    const uint32_t sources[] = {0, 0, 3, 3};
    CHECK(out.output == 4 && out.source.length == sizeof sources);
    CHECK(memcmp(out.source.bytes, sources, sizeof sources) == 0);
    CHECK(out.data.length == 6 && memcmp(out.data.bytes, "abcdef", 6) == 0);
    const uint32_t spans[] = {0, WEIR_UNCHANGED, 0, 2, 2, WEIR_ABSENT, 2, 2,
                              0, WEIR_UNCHANGED, 4, 1, 5, WEIR_ABSENT, 5, 1};
    CHECK(out.spans.length == sizeof spans);
    CHECK(memcmp(out.spans.bytes, spans, sizeof spans) == 0);
    const weir_header_change *changes = (const weir_header_change *)out.headers.bytes;
    CHECK(out.headers.length == 4 * sizeof *changes);
    CHECK(changes[2].output == 2 && changes[2].is_some);
    CHECK(weir_equal(changes[2].name, weir_of("half")));
    CHECK(changes[3].output == 3 && !changes[3].is_some);
    const weir_rejection *rejected = (const weir_rejection *)out.rejected.bytes;
    CHECK(out.rejected.length == sizeof *rejected && rejected->index == 1);
    puts("transform: all checks passed");
    return 0;
}
