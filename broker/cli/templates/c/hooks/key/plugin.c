/* {{name}}: orders records by their header `tag`; those without it need no order. */

#define WEIR_KEY
#include "weir/kit-c/weir.h"

bool weir_configure(weir_config *config, weir_columns *columns) {
    (void)config;
    /* Only the columns that are asked for here are copied into the plugin. */
    weir_header(columns, "tag");
    return true;
}

bool weir_key(const weir_record *record, weir_text *key) {
    weir_record_header(record, "tag", key);
    return true;
}
