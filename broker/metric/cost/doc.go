// Package cost says what it costs a request to be counted. Metrics have no switch: a figure that is missing on the day of a fault is worth
// more than what it saves. So what they take is bounded by a test instead: everything that a single Produce request, alone, adds to /metrics
// on the leader of three nodes, its batch's share of the WAL and its frames to two followers included, allocates nothing and takes less
// than Limit of CPU. With other requests beside it, it shares the batch's and the frames' part.
package cost

import "time"

// Limit is the most CPU time that the metrics of one request may take.
const Limit = 200 * time.Nanosecond
