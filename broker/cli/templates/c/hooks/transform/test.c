/* Natively: make test. */

#include "plugin.c"
#include "weir/kit-c/weir_test.h"

int main(void) {
    CHECK(BIND("header", "carrier"));
    const weir_sample samples[] = { {.header = NULL}, {.header = "UA"}};
    weir_batch batch = weir_batch_of(samples, 2);
    weir_out out = {0};
    CHECK(weir_answer_mapped(&batch, &out));
    CHECK(out.output == 1 && *(const uint32_t *)out.source.bytes == 1);
    const weir_header_change *change = (const weir_header_change *)out.headers.bytes;
    CHECK(out.headers.length == sizeof *change && change->output == 0);
    CHECK(weir_equal(change->name, weir_of("carrier")));
    CHECK(weir_equal(change->value, weir_of("UA")));
    const weir_rejection *rejected = (const weir_rejection *)out.rejected.bytes;
    CHECK(out.rejected.length == sizeof *rejected && rejected->index == 0);
    puts("all checks passed");
    return 0;
}
