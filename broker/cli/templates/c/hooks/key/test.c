/* Natively: make test. */

#include "plugin.c"
#include "weir/kit-c/weir_test.h"

int main(void) {
    CHECK(weir_bind_routes((const char *const[]){NULL}, weir_no_routes));
    const weir_sample samples[] = { {.header = "UA"}, {.header = NULL}, {.header = "DL"}};
    weir_batch batch = weir_batch_of(samples, 3);
    weir_buffer keys = {0};
    uint32_t spans[6];
    CHECK(weir_answer_keys(&batch, &keys, spans));
    CHECK(keys.length == 4 && memcmp(keys.bytes, "UADL", 4) == 0);
    CHECK(spans[1] == 2 && spans[3] == WEIR_ABSENT && spans[4] == 2 && spans[5] == 2);
    puts("all checks passed");
    return 0;
}
