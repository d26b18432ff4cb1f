package advise

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// mostRows is how many leaders are printed; the rest is in the JSON.
const mostRows = 20

// advice is the first placement as a sentence.
func (r *Result) advice() string {
	p := r.Placements[0]
	var b strings.Builder
	b.WriteString("put ")
	if r.Replicas < r.Hosts {
		fmt.Fprintf(&b, "replicas on %s and ", strings.Join(p.Voters, ", "))
	}
	fmt.Fprintf(&b, "the leader on %s (%s): ", p.Leader, p.Where)
	producers, all := []string(nil), 0
	for c, from := range r.Clients {
		if from.Share > 0 {
			all++
			producers = append(producers, fmt.Sprintf("from %s in %s ms", from.Name, ms(p.Latency[c])))
		}
	}
	if all > 3 {
		producers = []string{fmt.Sprintf("in %s ms on average, from %s, the worst, in %s ms", ms(p.Mean), p.WorstClient, ms(p.Worst))}
	}
	fmt.Fprintf(&b, "writes commit %s; ", strings.Join(producers, ", "))
	switch {
	case r.Majority == 1:
		b.WriteString("nobody else counts, and nothing survives its loss")
	case p.Slowest == p.Leader:
		fmt.Fprintf(&b, "its own disk is the slowest quorum member that counts (%d of %d)", r.Majority, r.Replicas)
	default:
		fmt.Fprintf(&b, "%s (%s) is the slowest quorum member that counts (%d of %d)", p.Slowest, p.SlowestWhere, r.Majority, r.Replicas)
	}
	return b.String()
}

// Print writes the result as tables, the advice first.
func (r *Result) Print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s: %d of %d hosts vote, a majority is %d; looked at %d placements\n\n", r.Advice, r.Topology, r.Replicas, r.Hosts, r.Majority,
		r.Looked)
	b.WriteString("From a client's record to its acknowledgement, ms, by where the client is. commit is the leader's part of it; by RTT: the mean if syncs\n" +
		"took nothing; slow: the mean if each took its p99.\n\n")
	r.table(&b)
	fmt.Fprintf(&b, "\nNone of these placements can have a mean below %s ms by round trips alone.\n", ms(r.RTTOnly))
	p := r.Placements[0]
	fmt.Fprintf(&b, "\nIf a region or zone goes away, with the clients there, from %s led by %s\n(in brackets: what that costs the "+
		"producers that are left):\n", strings.Join(p.Voters, ", "), p.Leader)
	for _, l := range p.Losses {
		fmt.Fprintf(&b, "  %-20s", l.Gone)
		switch {
		case l.Left == 0:
			b.WriteString("no majority: every replica is there\n")
		case l.Leader == "":
			fmt.Fprintf(&b, "no majority (%d of %d voters left): nothing is acknowledged until it is back\n", l.Left, r.Replicas)
		case !l.Producers:
			fmt.Fprintf(&b, "%s leads at best, commits in %s ms (slowest that counts: %s); no producer is left\n", l.Leader, ms(l.Commit), l.Slowest)
		default:
			fmt.Fprintf(&b, "%s leads at best, commits in %s ms (slowest that counts: %s); mean %s ms (%+.3f)\n", l.Leader, ms(l.Commit), l.Slowest, ms(l.Mean),
				(l.Mean-l.Was).Seconds()*1e3)
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "\nNote: %s.\n", n)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// table has a row for each leader, and what each client would have at best under them.
func (r *Result) table(b *strings.Builder) {
	leader, voters := len("its own best"), 0
	for _, p := range r.Placements {
		leader = max(leader, len(p.Leader)+len(p.Where)+3)
		if r.Replicas < r.Hosts {
			voters = max(voters, len("  voters"), len(strings.Join(p.Voters, " "))+2)
		}
	}
	fmt.Fprintf(b, "%-*s", leader, "leader")
	if voters > 0 {
		fmt.Fprintf(b, "%-*s", voters, "  voters")
	}
	fmt.Fprintf(b, "%10s", "commit")
	for _, c := range r.Clients {
		fmt.Fprintf(b, "%*s", width(c), c.Name)
	}
	fmt.Fprintf(b, "%10s%10s%10s%10s\n", "mean", "worst", "by RTT", "slow")
	for i, p := range r.Placements {
		if i == mostRows {
			fmt.Fprintf(b, "… %d more leaders: --json has them\n", len(r.Placements)-mostRows)
			break
		}
		fmt.Fprintf(b, "%-*s", leader, p.Leader+" ("+p.Where+")")
		if voters > 0 {
			fmt.Fprintf(b, "%-*s", voters, "  "+strings.Join(p.Voters, " "))
		}
		fmt.Fprintf(b, "%10s", ms(p.Commit))
		for c, d := range p.Latency {
			fmt.Fprintf(b, "%*s", width(r.Clients[c]), ms(d))
		}
		fmt.Fprintf(b, "%10s%10s%10s%10s\n", ms(p.Mean), ms(p.Worst), ms(p.RTTOnly), ms(p.Slow))
	}
	for _, row := range []struct {
		name string
		of   func(Client) string
	}{
		{"its own best", func(c Client) string { return ms(c.Least) }},
		{"  led by", func(c Client) string { return c.LeastLeader }},
		{"its share", func(c Client) string { return fmt.Sprintf("%.3g%%", 100*c.Share) }},
	} {
		fmt.Fprintf(b, "%-*s", leader+voters+10, row.name)
		for _, c := range r.Clients {
			fmt.Fprintf(b, "%*s", width(c), row.of(c))
		}
		b.WriteString("\n")
	}
}

func width(c Client) int { return max(10, len(c.Name)+2) }

func ms(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()*1e3) }
