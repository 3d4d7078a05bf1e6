/* {{name}}: shows a subscriber only the header `tag` of records that have one, instead of their
 * value. What is stored stays as it is. */

#define WEIR_PROJECT
#include "weir/kit-c/weir.h"

bool weir_configure(weir_config *config, weir_columns *columns) {
    (void)config;
    /* Only the columns that are asked for here are copied into the plugin. */
    weir_header(columns, "tag");
    return true;
}

bool weir_project(const weir_record *record, weir_out *view) {
    weir_text tag;
    if (weir_record_header(record, "tag", &tag)) weir_out_value(view, tag);
    return true;
}
