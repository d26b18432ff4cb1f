package result

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"ackline/loadgen/hist"
)

// Agent is one of the machines that made a load, and what became of its part.
type Agent struct {
	Addr    string  `json:"addr"`
	Verdict Verdict `json:"verdict,omitzero"` // of its part; none when it was lost
	Lost    string  `json:"lost,omitempty"`   // why nothing is known of its part
	Acked   int64   `json:"acked"`
	// Response is nil when the agent was lost or its part has no latency.
	Response *Summary `json:"response,omitempty"`
}

// Part is what came of one agent's part of a load: its result, or why there is none.
type Part struct {
	Addr   string
	Result *Result
	Lost   string
}

// Merge makes one result of parts that were made side by side; nil if no part has a result. Counts and histograms are added up. Of a
// second's percentiles, which cannot be merged, the worst agent's stands; outages are as each agent saw them, and stages are not
// merged. percentile is the one that all parts together must support; 0 asks for none.
func Merge(parts []Part, percentile float64) *Result {
	var m *Result
	e := Evidence{Set: hist.NewSet(), Percentile: percentile}
	for _, p := range parts {
		r := p.Result
		if r == nil {
			continue
		}
		if m == nil {
			m = &Result{Format: Format, Version: r.Version, Started: r.Started, Asked: r.Asked, Effective: r.Effective, Target: r.Target, GapMs: r.GapMs}
			m.Effective.Connections, m.Effective.Threads = nil, 0
			m.Latency, e.Unanswered = &Latency{Set: e.Set}, r.Unanswered
		}
		if r.Started.Before(m.Started) {
			m.Started = r.Started
		}
		m.Effective.Connections = append(m.Effective.Connections, r.Effective.Connections...)
		m.Effective.Threads += r.Effective.Threads
		m.Generator.add(r.Generator)
		m.Counts.add(r.Counts)
		m.addSeries(r.Series)
		m.addPartitions(r.ByPartition)
		m.Outages = append(m.Outages, r.Outages...)
		if r.Latency != nil {
			m.Latency.add(r.Latency)
		}
		if c := r.Check; c != nil && m.Check == nil {
			sum := *c
			m.Check = &sum
		} else if c != nil {
			m.Check.Add(c)
		}
	}
	if m == nil {
		return nil
	}
	slices.SortFunc(m.Outages, func(a, b Outage) int { return cmp.Compare(a.StartSeconds, b.StartSeconds) })
	e.TimeoutNS, e.Check = m.Latency.TimeoutNS, m.Check
	m.Latency.Summarize()
	m.Conclude(e)
	m.blame(parts)
	return m
}

// blame adds what is wrong with the parts to the verdict of the whole.
func (r *Result) blame(parts []Part) {
	for _, p := range parts {
		a := Agent{Addr: p.Addr, Lost: p.Lost}
		if q := p.Result; q == nil {
			r.Verdict.Reasons = append(r.Verdict.Reasons, Reason{AgentLost, fmt.Sprintf("%s: %s; what it did is not in these figures", p.Addr, p.Lost)})
		} else {
			if a.Verdict, a.Acked = q.Verdict, q.Counts.Acked; q.Latency != nil {
				a.Response = &q.Latency.Response
			}
			for _, why := range q.Verdict.Reasons {
				if why.Code != BadData { // which the whole says
					r.Verdict.Reasons = append(r.Verdict.Reasons, Reason{why.Code, p.Addr + ": " + why.Text})
				}
			}
		}
		r.Agents = append(r.Agents, a)
	}
	if r.Verdict.Status == Valid && len(r.Verdict.Reasons) > 0 {
		r.Verdict.Status = Invalid
	}
}

func (l *Latency) add(o *Latency) {
	l.TimeoutNS = max(l.TimeoutNS, o.TimeoutNS)
	l.Set.Merge(o.Set)
	l.EarlyReads, l.Unread = l.EarlyReads+o.EarlyReads, l.Unread+o.Unread
	for _, x := range []struct {
		to **hist.Hist
		h  *hist.Hist
	}{{&l.EndToEnd, o.EndToEnd}, {&l.Delivery, o.Delivery}} {
		switch {
		case x.h == nil:
		case *x.to == nil:
			*x.to = x.h.Clone()
		default:
			(*x.to).Merge(x.h)
		}
	}
}

func (g *Generator) add(o Generator) {
	g.GOMAXPROCS, g.CPUs = g.GOMAXPROCS+o.GOMAXPROCS, g.CPUs+o.CPUs
	g.UserSeconds, g.SystemSeconds = g.UserSeconds+o.UserSeconds, g.SystemSeconds+o.SystemSeconds
	g.VoluntarySwitches, g.Preemptions = g.VoluntarySwitches+o.VoluntarySwitches, g.Preemptions+o.Preemptions
	g.GarbageCollections += o.GarbageCollections
	g.StolenSeconds, g.ThrottledSeconds = g.StolenSeconds+o.StolenSeconds, g.ThrottledSeconds+o.ThrottledSeconds
	g.Realtime, g.CPUsAwake = g.Realtime && o.Realtime, g.CPUsAwake && o.CPUsAwake
	g.RunDelaySeconds, g.SpinUS = g.RunDelaySeconds+o.RunDelaySeconds, max(g.SpinUS, o.SpinUS)
}

// maxErrors is how many distinct errors a result names.
const maxErrors = 10

func (c *Counts) add(o Counts) {
	c.WindowSeconds = max(c.WindowSeconds, o.WindowSeconds)
	c.Arrivals, c.Acked, c.Failed, c.Unsent = c.Arrivals+o.Arrivals, c.Acked+o.Acked, c.Failed+o.Failed, c.Unsent+o.Unsent
	c.Records, c.ValueBytes, c.WireBytes = c.Records+o.Records, c.ValueBytes+o.ValueBytes, c.WireBytes+o.WireBytes
	c.AllAcked, c.AllRecords, c.AllFailed = c.AllAcked+o.AllAcked, c.AllRecords+o.AllRecords, c.AllFailed+o.AllFailed
	for _, e := range o.Errors {
		if len(c.Errors) < maxErrors && !slices.Contains(c.Errors, e) {
			c.Errors = append(c.Errors, e)
		}
	}
	for code, n := range o.ByCode {
		if c.ByCode == nil {
			c.ByCode = map[string]int64{}
		}
		c.ByCode[code] += n
	}
}

// addSeries adds seconds by their number: agents begin together.
func (r *Result) addSeries(series []Second) {
	for _, s := range series {
		i, found := slices.BinarySearchFunc(r.Series, s.Second, func(x Second, n int64) int { return cmp.Compare(x.Second, n) })
		if !found {
			r.Series = slices.Insert(r.Series, i, s)
			continue
		}
		r.Series[i].Add(s)
	}
}

// Add makes s the same second of two generators together, with the worse of each percentile.
func (s *Second) Add(o Second) {
	s.Acked, s.Failed, s.Records = s.Acked+o.Acked, s.Failed+o.Failed, s.Records+o.Records
	s.WarmUp = s.WarmUp || o.WarmUp
	s.P50US, s.P99US, s.MaxUS = max(s.P50US, o.P50US), max(s.P99US, o.P99US), max(s.MaxUS, o.MaxUS)
	s.LagP99US, s.BacklogUS, s.BacklogMax = max(s.LagP99US, o.LagP99US), max(s.BacklogUS, o.BacklogUS), max(s.BacklogMax, o.BacklogMax)
}

func (r *Result) addPartitions(counts []PartitionCount) {
	for _, c := range counts {
		i, found := slices.BinarySearchFunc(r.ByPartition, c, func(x, c PartitionCount) int {
			return cmp.Or(cmp.Compare(x.Topic, c.Topic), cmp.Compare(x.Partition, c.Partition))
		})
		if !found {
			r.ByPartition = slices.Insert(r.ByPartition, i, PartitionCount{Topic: c.Topic, Partition: c.Partition})
		}
		r.ByPartition[i].Acked += c.Acked
	}
}

// agents tells what became of each part.
func (r *Result) agents(b *strings.Builder) {
	if len(r.Agents) == 0 {
		return
	}
	b.WriteString("\nagents:\n")
	for _, a := range r.Agents {
		if a.Lost != "" {
			fmt.Fprintf(b, "  %s  LOST: %s\n", a.Addr, a.Lost)
			continue
		}
		fmt.Fprintf(b, "  %s  %s  %d acknowledged", a.Addr, a.Verdict.Status, a.Acked)
		if a.Response != nil {
			for _, p := range []float64{50, 99} {
				if v, ok := a.Response.At(p); ok {
					fmt.Fprintf(b, ", p%g %v", p, hist.Value{NS: int64(v.US * 1e3), AtLeast: v.AtLeast})
				}
			}
		}
		b.WriteString("\n")
	}
}
