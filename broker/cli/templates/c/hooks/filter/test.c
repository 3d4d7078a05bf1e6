/* Natively: make test. */

#include "plugin.c"
#include "weir/kit-c/weir_test.h"

int main(void) {
    CHECK(BIND("tag", "UA"));
    const weir_sample samples[] = { {.header = "UA"}, {.header = "DL"}, {.header = NULL}};
    weir_batch batch = weir_batch_of(samples, 3);
    uint8_t kept[3];
    CHECK(weir_answer_filter(&batch, kept));
    CHECK(kept[0] == 1 && kept[1] == 0 && kept[2] == 0);

    CHECK(!BIND("tag", "UA", "tags", "DL"));
    CHECK(weir_said("setting `tags` is not known"));
    puts("all checks passed");
    return 0;
}
