package record

// StolenFraction is the name of the figure (side Host, of slices and of launches) that says which share of this machine's CPU
// time its host gave to somebody else, from the steal column of /proc/stat. More than StolenWorthTelling of it widens every
// interval, and is said wherever a run is summed up.
const (
	StolenFraction     = "stolen_cpu_fraction"
	StolenWorthTelling = 0.02
)

// DurableRate is the name of the figure (side Host, bytes/s) in which a launch of a throughput or catch-up scenario keeps the best rate
// at which the disk alone makes sequential writes durable: O_DIRECT on a preallocated file in the same directory, by the
// block size, queue depth and way of syncing that a sweep at the run's beginning found to be the fastest (the run's notes
// say which). It is measured just before the slices and just after them, while nothing else runs, and is the better of the
// two: the limit that a disk which is slower for a moment must not lower.
const DurableRate = "durable_bytes_per_second"

// UsersP99 is the name of the figure (side System) in which a launch of a catch-up scenario keeps the p99 of those who write while a
// node catches up, as a multiple of what it is with all nodes there.
const UsersP99 = "users_p99_ratio"

// Stolen is the share of CPU time that the host took while launches ran, valid or not. ok is false when no launch says.
func Stolen(r *Results) (fraction float64, ok bool) {
	seconds := 0.0
	for i := range r.Launches {
		l := &r.Launches[i]
		if f, has := l.Get(Host, StolenFraction); has {
			fraction += f * l.Seconds
			seconds += l.Seconds
		}
	}
	if seconds <= 0 {
		return 0, false
	}
	return fraction / seconds, true
}
