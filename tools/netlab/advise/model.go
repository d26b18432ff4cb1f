package advise

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"ackline/profiles/region"
)

// model is the topology as numbers. Hosts are places in Topology.Hosts, clients are places in model.places.
type model struct {
	t                         *region.Topology
	hosts, replicas, majority int
	places                    []place
	share                     []float64
	client                    [][]time.Duration // [client][host]: there and back
	answer, slow, rtt         acks              // with typical syncs, with their p99, with none
	domains                   []domain
}

// acks is [leader][voter]: from a record at the leader to the word that the voter has it durable.
type acks [][]time.Duration

// domain is what goes away at once.
type domain struct {
	name   string
	region bool
	hosts  map[int]bool
	places map[int]bool
}

func newModel(t *region.Topology, cfg Config) (*model, error) {
	m := &model{t: t, hosts: len(t.Hosts), places: places(t), replicas: cmp.Or(cfg.Replicas, len(t.Hosts))}
	var errs []error
	if m.replicas < 1 || m.replicas > m.hosts {
		errs = append(errs, fmt.Errorf("%d replicas: %s has %d hosts: want 1 to %d, or all", m.replicas, t.Name, m.hosts, m.hosts))
	}
	if cfg.Sync < 0 || cfg.SyncP99 < 0 || cfg.SyncP99 > 0 && cfg.SyncP99 < cfg.Sync {
		errs = append(errs, fmt.Errorf("a sync takes %v, its p99 is %v: want nothing negative, and a p99 that is not below the typical one",
			cfg.Sync, cfg.SyncP99))
	}
	for host, d := range cfg.SyncOf {
		if t.Index(host) < 0 {
			errs = append(errs, fmt.Errorf("sync of host %q: it is not in %s: there are %s", host, t.Name, strings.Join(t.HostNames(), ", ")))
		}
		if d < 0 {
			errs = append(errs, fmt.Errorf("sync of host %q: %v: want nothing negative", host, d))
		}
	}
	var err error
	m.share, err = shares(t, m.places, cfg.Producers)
	if err = errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	m.majority = m.replicas/2 + 1
	typical := func(host int) time.Duration {
		if d, ok := cfg.SyncOf[t.Hosts[host].Name]; ok {
			return d
		}
		return cfg.Sync
	}
	m.answer = m.acks(typical)
	m.slow = m.acks(func(host int) time.Duration { return max(typical(host), cfg.SyncP99) })
	m.rtt = m.acks(func(int) time.Duration { return 0 })
	m.stand()
	m.fail()
	return m, nil
}

func (m *model) acks(sync func(host int) time.Duration) acks {
	out := make(acks, m.hosts)
	for l := range out {
		for f := range m.hosts {
			out[l] = append(out[l], m.t.Path(l, f).Delay+sync(f)+m.t.Path(f, l).Delay)
		}
	}
	return out
}

// stand puts a machine into each place, beside the brokers that may be there, and takes its distances.
func (m *model) stand() {
	with := *m.t
	for _, p := range m.places {
		with.Hosts = append(slices.Clone(m.t.Hosts), region.Host{Name: "client", Region: p.region, Zone: p.zone})
		var d []time.Duration
		for l := range m.hosts {
			d = append(d, with.Path(m.hosts, l).Delay+with.Path(l, m.hosts).Delay)
		}
		m.client = append(m.client, d)
	}
}

// fail lists what may go away: regions, and zones of regions that have several. A host's only zone is named or not, but it is one.
func (m *model) fail() {
	add := func(name string, whole bool, in func(region, zone string) bool) {
		d := domain{name, whole, map[int]bool{}, map[int]bool{}}
		for i, h := range m.t.Hosts {
			if in(h.Region, h.Zone) {
				d.hosts[i] = true
			}
		}
		for i, p := range m.places {
			if in(p.region, p.zone) {
				d.places[i] = true
			}
		}
		m.domains = append(m.domains, d)
	}
	for _, r := range m.t.Regions {
		add(r.Name, true, func(region, _ string) bool { return region == r.Name })
		if len(r.Zones) < 2 {
			continue
		}
		for _, z := range r.Zones {
			add(r.Name+"/"+z, false, func(region, zone string) bool { return region == r.Name && zone == z })
		}
	}
}

// commit is when a majority of all voters has the record, and which voter completes it. Of voters, those that live are given.
func (m *model) commit(a acks, leader int, alive []int) (time.Duration, int) {
	var buf [16]int
	order := append(buf[:0], alive...)
	slices.SortFunc(order, func(x, y int) int { return cmp.Or(cmp.Compare(a[leader][x], a[leader][y]), cmp.Compare(x, y)) })
	k := order[m.majority-1]
	return a[leader][k], k
}

// mean is how long clients are from the leader, there and back, by their shares, without those in gone. False: none is left.
func (m *model) mean(leader int, gone map[int]bool) (time.Duration, bool) {
	sum, weight := 0.0, 0.0
	for c := range m.places {
		if !gone[c] {
			sum += m.share[c] * float64(m.client[c][leader])
			weight += m.share[c]
		}
	}
	if weight == 0 {
		return 0, false
	}
	return time.Duration(math.Round(sum / weight)), true
}

// losses are what remains of a set of voters without each domain that has one of them.
func (m *model) losses(voters []int) (out []Loss) {
	for _, d := range m.domains {
		left := slices.DeleteFunc(slices.Clone(voters), func(v int) bool { return d.hosts[v] })
		if len(left) == len(voters) {
			continue
		}
		loss := Loss{Gone: d.name, Region: d.region, Left: len(left), places: d.places}
		for _, l := range left {
			if len(left) < m.majority {
				break
			}
			commit, k := m.commit(m.answer, l, left)
			var mean time.Duration
			mean, loss.Producers = m.mean(l, d.places)
			if loss.Producers {
				mean += commit
			}
			if loss.Leader == "" || mean < loss.Mean || mean == loss.Mean && commit < loss.Commit {
				loss.Leader, loss.Slowest, loss.Commit, loss.Mean = m.t.Hosts[l].Name, m.t.Hosts[k].Name, commit, mean
			}
		}
		out = append(out, loss)
	}
	return out
}

func (m *model) where(host int) string {
	return strings.TrimSuffix(m.t.Hosts[host].Region+"/"+m.t.Hosts[host].Zone, "/")
}

func (m *model) describe(leader int, voters []int) Placement {
	p := Placement{Leader: m.t.Hosts[leader].Name, Where: m.where(leader), leader: leader, voters: voters, Losses: m.losses(voters)}
	for _, v := range voters {
		p.Voters = append(p.Voters, m.t.Hosts[v].Name)
	}
	var k int
	p.Commit, k = m.commit(m.answer, leader, voters)
	p.Slowest, p.SlowestWhere = m.t.Hosts[k].Name, m.where(k)
	for c, where := range m.places {
		p.Latency = append(p.Latency, m.client[c][leader]+p.Commit)
		if m.share[c] > 0 && (p.WorstClient == "" || p.Latency[c] > p.Worst) {
			p.Worst, p.WorstClient = p.Latency[c], where.name
		}
	}
	way, _ := m.mean(leader, nil)
	rtt, _ := m.commit(m.rtt, leader, voters)
	slow, _ := m.commit(m.slow, leader, voters)
	p.Mean, p.RTTOnly, p.Slow = way+p.Commit, way+rtt, way+slow
	for i := range p.Losses {
		if was, any := m.mean(leader, p.Losses[i].places); any {
			p.Losses[i].Was = was + p.Commit
		}
	}
	return p
}

// notes says what of the topology is not in the figures.
func (m *model) notes() (out []string) {
	var jitter time.Duration
	loss, limited := 0.0, false
	for i := range m.hosts {
		for j := range m.hosts {
			p := m.t.Path(i, j)
			jitter, loss, limited = max(jitter, p.Jitter), max(loss, p.Loss), limited || p.BytesPerSecond > 0
		}
	}
	if jitter > 0 {
		out = append(out, fmt.Sprintf("jitter of up to %v one way is not in these figures", jitter))
	}
	if loss > 0 {
		out = append(out, fmt.Sprintf("loss of up to %.3g%% of packets is not in these figures", 100*loss))
	}
	if limited {
		out = append(out, "limits of links are not in these figures: a record is taken to be small")
	}
	return out
}
