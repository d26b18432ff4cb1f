package suite

import (
	"maps"
	"strings"

	"ackline/profiles"
	"ackline/tools/bench/launch"
	"ackline/tools/bench/record"
)

// Elsewhere is a cluster that is there already. Nothing is started then, and no disk of this machine is measured or written to.
type Elsewhere struct {
	launch.There
	About record.Remote // for the record
}

// unseen takes from a record what is true of brokers and floors only that are started here.
func (c *Config) unseen(r *record.Results) {
	about := c.Elsewhere.About
	r.Remote = &about
	r.Dir, r.FreeBytes, r.SyncMethod, r.FloorVersion = "", 0, "", 0
	for i, sc := range c.Suite.Scenarios {
		s := &r.Scenarios[i]
		maps.DeleteFunc(s.Configuration, func(key, _ string) bool { return key == "ring_bytes" || strings.HasPrefix(key, "broker_") })
		s.Tuning = "unknown"
		if sc.Workload.Throughput() && len(c.Elsewhere.HTTP) == 0 {
			s.Note += "; not here, where the brokers could not be asked to drain"
		}
		switch has := c.Elsewhere; sc.Workload.Kind {
		case profiles.Fetch:
			if has.Echo == "" {
				s.FloorIs = ""
			}
		case profiles.Produce, profiles.Sweep:
			if has.Floor == "" {
				s.FloorIs = ""
			}
		}
	}
}
