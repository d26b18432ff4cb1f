package result

import "ackline/loadgen/hist"

// Portion is what one worker did in about a second of a load, for whoever watches the load while it goes on. It counts every operation;
// Set leaves out those that no Second shows: what was discarded, and what was due before the measured window and answered in it.
type Portion struct {
	Floor  bool // the operations went to a floor
	Worker int
	Over   bool // it is the worker's last of this load

	Acked, Records int64
	ValueBytes     int64            // of acknowledged or fetched records
	Failed         map[string]int64 // by client.ErrorCode; nil when none did
	Set            *hist.Set        // only until the call returns

	// At the portion's end.
	InFlight  int
	OverdueNS int64 // how long the oldest arrival that found no room had been due
}
