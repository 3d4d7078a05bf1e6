/* Natively: make test. */

#include "plugin.c"
#include "weir/kit-c/weir_test.h"

int main(void) {
    CHECK(weir_bind_routes((const char *const[]){NULL}, weir_no_routes));
    const weir_sample samples[] = { {.header = "UA"}, {.header = NULL}};
    weir_batch batch = weir_batch_of(samples, 2);
    weir_out out = {0};
    CHECK(weir_answer_mapped(&batch, &out));
    const uint32_t *spans = (const uint32_t *)out.spans.bytes;
    CHECK(out.output == 2 && spans[1] == WEIR_UNCHANGED && spans[3] == 2);
    CHECK(memcmp(out.data.bytes, "UA", 2) == 0);
    CHECK(spans[5] == WEIR_UNCHANGED && spans[7] == WEIR_UNCHANGED);
    puts("all checks passed");
    return 0;
}
