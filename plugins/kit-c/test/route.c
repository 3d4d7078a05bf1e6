/* The hook route. */

#define WEIR_ROUTE
#include "../weir.h"
#include "../weir_test.h"

static weir_config *settings;

bool weir_configure(weir_config *config, weir_columns *columns) {
    settings = config;
    columns->key = true;
    return true;
}

bool weir_route(const weir_record *record, uint64_t *routes) {
    weir_text key;
    if (!weir_record_key(record, &key)) return true;
    int route = weir_route_named(settings, key);
    if (route < 0) return weir_fail("no such route");
    *routes = (uint64_t)1 << route;
    return true;
}

int main(void) {
    CHECK(weir_bind_routes((const char *const[]){NULL}, (const char *const[]){"a", "b", NULL}));
    const weir_sample samples[] = {{.key = "b"}, {.key = NULL}, {.key = "a"}};
    weir_batch batch = weir_batch_of(samples, 3);
    uint64_t sets[3];
    CHECK(weir_answer_routes(&batch, sets));
    CHECK(sets[0] == 2 && sets[1] == 0 && sets[2] == 1);
    const weir_sample lost = {.key = "c"};
    batch = weir_batch_of(&lost, 1);
    CHECK(!weir_answer_routes(&batch, sets));
    CHECK(weir_said("no such route"));
    puts("route: all checks passed");
    return 0;
}
