/* The hook retry-policy. */

#define WEIR_RETRY_POLICY
#include "../weir.h"
#include "../weir_test.h"

bool weir_configure(weir_config *config, weir_columns *columns) {
    (void)config, (void)columns;
    return true;
}

bool weir_decide(const weir_record *record, const weir_failure *failure,
                 weir_decision *decision) {
    (void)record;
    if (weir_equal(failure->message, weir_of("order"))) {
        decision->tag = WEIR_PARK_KEY;
    } else if (failure->attempt > 2) {
        decision->tag = WEIR_DEAD_LETTER;
    } else {
        *decision = (weir_decision){WEIR_DELAY, 100 * failure->attempt};
    }
    return true;
}

int main(void) {
    CHECK(weir_bind_routes((const char *const[]){NULL}, weir_no_routes));
    const weir_sample samples[3] = {{0}, {0}, {0}};
    weir_batch batch = weir_batch_of(samples, 3);
    const weir_failure failures[] = {{2, weir_of("")}, {3, weir_of("")}, {1, weir_of("order")}};
    weir_decision decisions[3];
    CHECK(weir_answer_decisions(&batch, failures, decisions));
    CHECK(decisions[0].tag == WEIR_DELAY && decisions[0].milliseconds == 200);
    CHECK(decisions[1].tag == WEIR_DEAD_LETTER && decisions[2].tag == WEIR_PARK_KEY);
    puts("retry: all checks passed");
    return 0;
}
