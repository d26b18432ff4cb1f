package sum

import (
	"fmt"
	"strings"

	"ackline/tools/bench/record"
)

// spoiltBy ends the reason of a slice that is invalid only because of another one.
const spoiltBy = " of its cycle is invalid"

// Spoil says whether a cycle counts. One bad slice spoils its cycle: without it the rest is no longer balanced
// against drift.
func Spoil(cycle []record.Slice) bool {
	bad, host := -1, true
	for _, sl := range cycle {
		if sl.Verdict != record.OK {
			bad, host = sl.Number, host && sl.HostOnly
		}
	}
	if bad < 0 {
		return true
	}
	for i := range cycle {
		if cycle[i].Verdict == record.OK {
			cycle[i].Verdict, cycle[i].HostOnly = record.Invalid, host
			cycle[i].Reasons = append(cycle[i].Reasons, fmt.Sprintf("slice %d%s", bad, spoiltBy))
		}
	}
	return false
}

// FirstBad is the first slice that is invalid for a reason of its own. host: so is none for which the host is not to blame.
func FirstBad(slices []record.Slice) (bad record.Slice, host bool) {
	found := false
	host = true
	for _, sl := range slices {
		if sl.Verdict == record.OK {
			continue
		}
		host = host && sl.HostOnly
		if !found && !strings.HasSuffix(sl.Reasons[0], spoiltBy) {
			bad, found = sl, true
		}
	}
	if !found {
		panic(fmt.Sprintf("sum: %d slices, none of them invalid by itself", len(slices)))
	}
	return bad, host
}
