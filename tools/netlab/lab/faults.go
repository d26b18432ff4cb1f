package lab

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"ackline/profiles/region"
	"ackline/tools/netlab/line"
)

// Worse is what makes a path worse than the topology has it.
type Worse struct {
	Delay          time.Duration // is added
	Jitter         time.Duration // is added
	Loss           float64       // 0 to 1, is added
	BytesPerSecond float64       // the most that is left; 0 = as it is
}

// fault is what is wrong with one direction between two hosts.
type fault struct {
	cut   bool
	worse Worse
}

// Cut stops everything from one host to another, in that direction.
func (l *Lab) Cut(from, to string) error {
	return l.change(from, to, func(f *fault) { f.cut = true })
}

// Part stops everything between two hosts, both ways.
func (l *Lab) Part(a, b string) error { return errors.Join(l.Cut(a, b), l.Cut(b, a)) }

// Isolate cuts a region off from all others, both ways. Within it everything goes on.
func (l *Lab) Isolate(name string) error {
	inside := l.topology.HostsOf(name)
	if len(inside) == 0 {
		var all []string
		for _, r := range l.topology.Regions {
			all = append(all, r.Name)
		}
		return fmt.Errorf("netlab: no host is in a region %q of %s (there are %s)", name, l.topology.Name, strings.Join(all, ", "))
	}
	var errs []error
	for _, a := range inside {
		for _, b := range l.topology.HostNames() {
			if !slices.Contains(inside, b) {
				errs = append(errs, l.Part(a, b))
			}
		}
	}
	return errors.Join(errs...)
}

// Worsen makes the way from one host to another worse than the topology has it, in that direction. It replaces what an earlier call said.
func (l *Lab) Worsen(from, to string, w Worse) error {
	if w.Delay < 0 || w.Jitter < 0 || w.BytesPerSecond < 0 || !(w.Loss >= 0 && w.Loss < 1) {
		return fmt.Errorf("netlab: from %s to %s %+v: want nothing negative, and a loss below 1 (a cut is made with Cut)", from, to, w)
	}
	return l.change(from, to, func(f *fault) { f.worse = w })
}

// Heal undoes whatever was done to the way from one host to another, in that direction.
func (l *Lab) Heal(from, to string) error {
	return l.change(from, to, func(f *fault) { *f = fault{} })
}

// HealAll undoes every fault.
func (l *Lab) HealAll() error {
	var errs []error
	for _, a := range l.topology.HostNames() {
		for _, b := range l.topology.HostNames() {
			if a != b {
				errs = append(errs, l.Heal(a, b))
			}
		}
	}
	return errors.Join(errs...)
}

// Faults lists what is wrong at the moment, a line for each direction.
func (l *Lab) Faults() (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for a, row := range l.faults {
		for b, f := range row {
			way := l.topology.Hosts[a].Name + " to " + l.topology.Hosts[b].Name + ": "
			if f.cut {
				out = append(out, way+"cut")
			}
			if w := f.worse; w != (Worse{}) {
				out = append(out, fmt.Sprintf("%s%v more delay, %v more jitter, %.3g%% more loss, limit %.6g B/s (0 = none)", way, w.Delay, w.Jitter,
					100*w.Loss, w.BytesPerSecond))
			}
		}
	}
	return out
}

// change makes or heals a fault.
func (l *Lab) change(from, to string, do func(*fault)) error {
	a, b, err := l.indices(from, to)
	if err != nil {
		return err
	}
	if a == b {
		return fmt.Errorf("netlab: from %s to itself there is no way that could be changed: want two hosts", from)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errors.New("netlab: the lab is closed")
	}
	was := l.faults[a][b]
	do(&l.faults[a][b])
	// The quality first: what was held is sent anew when a cut heals, and is to meet the path as it is then.
	if now := l.faults[a][b]; now.worse != was.worse {
		// And b's: its retransmissions take a round trip.
		if err := errors.Join(l.network.Set(a, b, l.quality(a, b)), l.network.Set(b, a, l.quality(b, a))); err != nil {
			return err
		}
	}
	if now := l.faults[a][b]; now.cut != was.cut {
		return l.network.Cut(a, b, now.cut)
	}
	return nil
}

// leastRetransmit is how long Linux's TCP waits at least, besides a round trip, before it sends again what was not acknowledged.
const leastRetransmit = 200 * time.Millisecond

// quality is what lies between two hosts at the moment, apart from cuts. Needs mu, or that nobody else has the lab.
func (l *Lab) quality(from, to int) line.Quality {
	there, back := l.path(from, to), l.path(to, from)
	return line.Quality{
		DelayNS:        there.Delay.Nanoseconds(),
		JitterNS:       there.Jitter.Nanoseconds(),
		Loss:           there.Loss,
		RetransmitNS:   (there.Delay + back.Delay + leastRetransmit).Nanoseconds(),
		BytesPerSecond: there.BytesPerSecond,
	}
}

// path is the topology's, with what was made worse.
func (l *Lab) path(from, to int) region.Path {
	p, w := l.topology.Path(from, to), l.faults[from][to].worse
	p.Delay += w.Delay
	p.Jitter += w.Jitter
	p.Loss = min(p.Loss+w.Loss, 1)
	if w.BytesPerSecond > 0 && (p.BytesPerSecond == 0 || w.BytesPerSecond < p.BytesPerSecond) {
		p.BytesPerSecond = w.BytesPerSecond
	}
	return p
}

// Path is what lies between two hosts at the moment, apart from cuts.
func (l *Lab) Path(from, to string) (region.Path, error) {
	a, b, err := l.indices(from, to)
	if err != nil {
		return region.Path{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.path(a, b), nil
}
