/* Natively: make test. */

#include "plugin.c"
#include "weir/kit-c/weir_test.h"

int main(void) {
    const char *const none[] = {NULL};
    CHECK(weir_bind_routes(none, (const char *const[]){"UA", "*", NULL}));
    const weir_sample samples[] = { {.header = "UA"}, {.header = "DL"}, {.header = NULL}};
    weir_batch batch = weir_batch_of(samples, 3);
    uint64_t sets[3];
    CHECK(weir_answer_routes(&batch, sets));
    CHECK(sets[0] == 1 && sets[1] == 2 && sets[2] == 2);

    CHECK(weir_bind_routes(none, (const char *const[]){"UA", NULL}));
    CHECK(!weir_answer_routes(&batch, sets));
    CHECK(weir_said("no route for this tag"));
    puts("all checks passed");
    return 0;
}
