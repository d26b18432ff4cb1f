package sum

import (
	"fmt"
	"strings"

	"ackline/tools/bench/record"
)

// spoiltBy ends the reason of a slice that is invalid only because of another one.
const spoiltBy = " of its cycle is invalid"

// Again is how many cycles that nothing but the host spoilt are measured once more, at most, in one launch. A host that takes CPU
// time away does so for minutes; without a second try an hour of it leaves a run of hours without a launch that counts.
const Again = 2

// Spoil says whether a cycle counts. One bad slice spoils its cycle: without it the rest is no longer balanced
// against drift. host: it does not, and for nothing but a host that took CPU time away.
func Spoil(cycle []record.Slice) (counts, host bool) {
	bad, host := -1, true
	for _, sl := range cycle {
		if sl.Verdict != record.OK {
			bad, host = sl.Number, host && sl.HostOnly
		}
	}
	if bad < 0 {
		return true, false
	}
	for i := range cycle {
		if cycle[i].Verdict == record.OK {
			cycle[i].Verdict, cycle[i].HostOnly = record.Invalid, host
			cycle[i].Reasons = append(cycle[i].Reasons, fmt.Sprintf("slice %d%s", bad, spoiltBy))
		}
	}
	return false, host
}

// Cycles numbers the cycles of a launch, of which planned are to count: each that nothing but the host spoilt is followed by
// one more, up to Again of them. measure is given a cycle's number and whether it is one more, and says what Spoil said of it.
func Cycles(planned int, measure func(cycle int, again bool) (host bool, err error)) error {
	for cycle, end := 0, planned; cycle < end; cycle++ {
		host, err := measure(cycle, cycle >= planned)
		if err != nil {
			return err
		}
		if host && end < planned+Again {
			end++
		}
	}
	return nil
}

// Repeated says in a progress line that a cycle is one more.
func Repeated(again bool) string {
	if again {
		return ", once more since the host took CPU time away"
	}
	return ""
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
