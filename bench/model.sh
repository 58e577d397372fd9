#!/usr/bin/env bash
# model.sh [CONSTANTS]
#		How many machines so many events take: a table up to 10^10, from the constants that
#		"bench/run.sh router" measured. Without a file, from those of the run that docs/scale.md shows.
#
# It is a model: multiplication, of what was measured with some 10^5 events. It holds as far as costs do not
# grow with what is stored, which docs/benchmarks.md shows to 10^7 events on one node.
#
#	NODE_GB=100			what a node is to hold, in 10^9 bytes, table and indexes
#	EVENTS="1e7 ..."	the sizes to show, stored
#	RATES="1e7 ..."		and sent a day

set -euo pipefail

CONSTANTS=${1:-$(dirname "${BASH_SOURCE[0]}")/model.constants}
[ -r "$CONSTANTS" ] || { echo "error: there is no file \"$CONSTANTS\"" >&2; exit 1; }

awk -F= -v limit="${NODE_GB:-100}" -v events="${EVENTS:-1e7 1e8 1e9 1e10}" -v rates="${RATES:-1e7 1e8 1e9 1e10}" '
	!/^#/ && NF == 2 { c[$1] = $2 }
	END {
		for (n = split("router_us node_us copy_us delta_us deltas_an_event event_bytes summary_bytes events_a_trace detect_us count_us_router count_us_node_of_router count_us_node list_us_router list_us_node_of_router list_us_node", names, " "); n > 0; n--)
			if (!(names[n] in c)) { print "error: no constant " names[n] > "/dev/stderr"; exit 1 }
		bytes = c["event_bytes"] + c["summary_bytes"] / c["events_a_trace"]
		fold = c["delta_us"] * c["deltas_an_event"]
		printf "An event takes %.0f bytes; CPU: router %.1f us, node %.1f us and folding %.1f us (by COPY straight to it %.1f us and folding), detector %.1f us.\n\n",
			bytes, c["router_us"], c["node_us"], fold, c["copy_us"], c["detect_us"]
		printf "%9s %7s %14s %8s %13s %18s %17s\n", "stored", "nodes", "events a node", "GB each", "traces each", "count_events() ms", "list_traces() ms"
		for (i = 1; i <= split(events, size, " "); i++) {
			nodes = int((size[i] * bytes / 1e9 + limit - 1e-9) / limit); if (nodes < 1) nodes = 1
			printf "%9.0e %7d %14.1e %8.1f %13.1e %18.2f %17.2f\n", size[i], nodes, size[i] / nodes, size[i] / nodes * bytes / 1e9, size[i] / nodes / c["events_a_trace"],
				(c["count_us_router"] + c["count_us_node_of_router"] * nodes + c["count_us_node"]) / 1000,
				(c["list_us_router"] + c["list_us_node_of_router"] * nodes + c["list_us_node"]) / 1000
		}
		printf "\n%9s %10s %13s %11s %15s %19s %20s\n", "a day", "a second", "router cores", "node cores", "detector cores", "nodes, by size/30 d", "nodes, by CPU at 50%"
		for (i = 1; i <= split(rates, rate, " "); i++) {
			each = rate[i] / 86400
			on_nodes = each * (c["node_us"] + fold) / 1e6
			by_size = int(rate[i] * 30 * bytes / 1e9 / limit) + 1
			printf "%9.0e %10.0f %13.2f %11.2f %15.2f %19d %20s\n", rate[i], each, each * c["router_us"] / 1e6, on_nodes, each * c["detect_us"] / 1e6, by_size,
				sprintf("%d of 4 cores", int(on_nodes / 2) + 1)
		}
		print "\nA question takes what the router spends on each node, and what one node does, as they work at a time; the network is not in it."
	}' "$CONSTANTS"
