/* Natively: `cc -std=c11 -Wall -Wextra -o /tmp/test test.c && /tmp/test`. */

#include "tag_filter.c"
#include "../kit-c/weir_test.h"

static const weir_sample SAMPLES[] = {{.header = "UA"}, {.header = "DL"}, {.header = "ua"},
                                      {.header = "U"},  {.header = ""},   {.header = NULL}};

/* The verdicts, a character each. */
static bool keeps(const char *expression, const char *expected) {
    CHECK(BIND("tags", expression));
    weir_batch batch = weir_batch_of(SAMPLES, 6);
    uint8_t kept[6];
    CHECK(weir_answer_filter(&batch, kept));
    for (size_t at = 0; at < 6; at++) {
        if (kept[at] != (expected[at] == '+')) return false;
    }
    return true;
}

int main(void) {
    CHECK(keeps("UA", "+-----"));
    CHECK(keeps("UA || DL", "++----"));
    CHECK(keeps("UA||DL||UA", "++----"));
    CHECK(keeps("\t UA\u2003||\u00a0DL\u3000\n", "++----"));
    CHECK(keeps("*", "++++++"));
    CHECK(keeps("UA || *", "++++++"));

    const char *empty[] = {"", "UA ||", "|| UA", "UA || \u3000 || DL", "||"};
    for (size_t at = 0; at < sizeof empty / sizeof *empty; at++) {
        CHECK(!BIND("tags", empty[at]));
        CHECK(weir_said("has an empty tag"));
    }
    CHECK(!weir_bind_routes((const char *const[]){NULL}, weir_no_routes));
    CHECK(weir_said("setting `tags` is missing"));
    CHECK(!BIND("tags", "UA", "mode", "x"));
    CHECK(weir_said("setting `mode` is not known; this plugin's settings: tags"));
    CHECK(!BIND("tags", "UA", "tags", "DL"));
    CHECK(weir_said("setting `tags` was given twice"));
    puts("tag-filter-c: all checks passed");
    return 0;
}
