/* {{name}}: tries a failed delivery again, a second later and twice as late each time, and gives up
 * after as many deliveries as the setting `attempts` says. */

#define WEIR_RETRY_POLICY
#include "weir/kit-c/weir.h"

enum { FIRST_MS = 1000, LONGEST_MS = 3600000, ATTEMPTS_MAX = 1000000 };

static uint32_t attempts;

bool weir_configure(weir_config *config, weir_columns *columns) {
    (void)columns;
    weir_text text;
    if (!weir_require(config, "attempts", &text)) return false;
    attempts = 0;
    for (size_t at = 0; at < text.length && attempts <= ATTEMPTS_MAX; at++) {
        if (text.bytes[at] < '0' || text.bytes[at] > '9') return weir_fail("attempts: no number");
        attempts = 10 * attempts + (text.bytes[at] - '0');
    }
    return attempts > 0 && attempts <= ATTEMPTS_MAX ? true : weir_fail("attempts: 1 to 1000000");
}

bool weir_decide(const weir_record *record, const weir_failure *failure,
                 weir_decision *decision) {
    (void)record;
    if (failure->attempt >= attempts) {
        decision->tag = WEIR_DEAD_LETTER;
        return true;
    }
    uint64_t delay = FIRST_MS;
    for (uint32_t at = 1; at < failure->attempt && delay < LONGEST_MS; at++) delay *= 2;
    *decision = (weir_decision){WEIR_DELAY, delay < LONGEST_MS ? delay : LONGEST_MS};
    return true;
}
