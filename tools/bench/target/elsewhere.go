package target

import "ackline/tools/bench/proc"

// Elsewhere are brokers that somebody else has started, on machines that nobody here can look into. http are where they serve it,
// in the same order; none: they can be neither asked to settle nor counted.
func Elsewhere(addrs, http []string) *Brokers {
	b := &Brokers{}
	for i, addr := range addrs {
		n := &Broker{Addr: addr}
		if i < len(http) {
			n.HTTPAddr = http[i]
		}
		b.Nodes = append(b.Nodes, n)
	}
	return b
}

// FloorAt is a floor that somebody else has started.
func FloorAt(addr string) *Floor { return &Floor{Addr: addr} }

// pids are the ids of those processes that were started here.
func pids(all ...*proc.Process) (out []int) {
	for _, p := range all {
		if p != nil {
			out = append(out, p.PID())
		}
	}
	return out
}
