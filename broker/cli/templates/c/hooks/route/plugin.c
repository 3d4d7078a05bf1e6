/* {{name}}: sends a record to the route that is called like its header `tag`; to the route `*` if
 * there is no such route. */

#define WEIR_ROUTE
#include "weir/kit-c/weir.h"

static const weir_config *settings;

bool weir_configure(weir_config *config, weir_columns *columns) {
    settings = config;
    /* Only the columns that are asked for here are copied into the plugin. */
    weir_header(columns, "tag");
    return true;
}

bool weir_route(const weir_record *record, uint64_t *routes) {
    weir_text tag;
    int route = -1;
    if (weir_record_header(record, "tag", &tag)) route = weir_route_named(settings, tag);
    if (route < 0) route = weir_route_named(settings, weir_of("*"));
    if (route < 0) return weir_fail("no route for this tag, and no `*`");
    *routes = (uint64_t)1 << route;
    return true;
}
