/* Natively: make test. */

#include "plugin.c"
#include "weir/kit-c/weir_test.h"

int main(void) {
    CHECK(BIND("attempts", "3"));
    const weir_sample samples[3] = { {0}, {0}, {0}};
    weir_batch batch = weir_batch_of(samples, 3);
    const weir_failure failures[] = { {1, weir_of("")}, {2, weir_of("")}, {3, weir_of("")}};
    weir_decision decisions[3];
    CHECK(weir_answer_decisions(&batch, failures, decisions));
    CHECK(decisions[0].tag == WEIR_DELAY && decisions[0].milliseconds == 1000);
    CHECK(decisions[1].tag == WEIR_DELAY && decisions[1].milliseconds == 2000);
    CHECK(decisions[2].tag == WEIR_DEAD_LETTER);

    CHECK(!BIND("attempts", "many"));
    CHECK(weir_said("no number"));
    puts("all checks passed");
    return 0;
}
