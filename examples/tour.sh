#!/usr/bin/env bash
# The tour of the README. Run it from the top of the repository, with `weir` on PATH and
# `weir serve` running in the same folder. A test runs it and checks the numbers behind the lines.
set -euo pipefail

# A topic, two records, and back again.
weir topic create greetings
printf 'ada:hello\nbob:good morning\n' | weir produce greetings --key-separator :
weir consume greetings --until-end --output '%k says %v\n'

# Real data: 5000 flights, in order per aircraft, tagged with their carrier.
weir topic create flights --partitions 4
weir produce flights examples/data/flights-sample.ndjson.gz --key-field tailnum --tag-field carrier
weir consume flights --limit 2 --output json
weir consume flights --until-end | wc -l                                          # 5000

# Filters run in the broker: what does not match never crosses the network.
weir plugin push plugins/prebuilt/tag-filter.wasm --name tag-filter
weir plugin push plugins/prebuilt/json-filter.wasm --name json-filter
weir consume flights --until-end --filter tag-filter --config 'tags=UA || DL' | wc -l         # 1597
weir consume flights --until-end --filter json-filter --config 'where=dep_delay > 15' | wc -l # 947

# Key and route run before a record is stored: the producer knows nothing of them.
weir plugin push plugins/prebuilt/json-key.wasm --name json-key
weir plugin push plugins/prebuilt/json-route.wasm --name json-route
weir topic create inbox
weir topic create from-jfk --partitions 4
weir topic create from-elsewhere --partitions 4
weir plugin bind json-key --topic inbox --hook key --config field=tailnum
weir plugin bind json-route --topic inbox --hook route --config field=origin \
    --to JFK=from-jfk --to '*=from-elsewhere'
weir produce inbox examples/data/flights-sample.ndjson.gz
weir consume from-jfk --until-end | wc -l                                         # 1791
weir consume from-elsewhere --until-end | wc -l                                   # 3209

# What is there, and how it is.
weir topic list
weir topic describe inbox
weir status
