package advice

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Print writes the theory, and what was measured beside it.
func (a *Advice) Print(w io.Writer) error {
	if err := a.Theory.Print(w); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s\n", a.Sync)
	if a.Measured == nil {
		fmt.Fprintf(&b, "No measured latency beside it: %s.\n", a.Without)
	} else {
		a.Measured.table(&b)
		a.Measured.conclude(&b, called(a.Theory.Placements[0].Leader, a.Theory.Placements[0].Where))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (m *Measured) table(b *strings.Builder) {
	fmt.Fprintf(b, "\nMeasured (%s: commit %s, %s; valid launches: %d), p50 in ms, beside the theory above; the floor was led from the same host:\n\n",
		m.From, m.Commit, m.Started.Format("2 January 2006"), m.Launches)
	leader, client := len("leader"), len("producers in")
	for _, l := range m.Leaders {
		leader = max(leader, len(l.Leader))
		for _, c := range l.Clients {
			client = max(client, len(c.Name))
		}
	}
	fmt.Fprintf(b, "%-*s  %-*s%10s%10s%10s%10s%12s\n", leader, "leader", client, "producers in", "theory", "measured", "above", "floor", "requests")
	for _, l := range m.Leaders {
		for _, c := range l.Clients {
			fmt.Fprintf(b, "%-*s  %-*s%10s%10s%10s%10s%12d\n", leader, l.Leader, client, c.Name, ms(c.Theory), ms(c.System), ms(c.System-c.Theory),
				ms(c.Floor), c.Requests)
		}
		if l.Mean > 0 {
			fmt.Fprintf(b, "%-*s  %-*s%10s%10s%10s\n", leader, l.Leader, client, "mean", ms(l.Theory), ms(l.Mean), ms(l.Mean-l.Theory))
		}
	}
}

// conclude says whether the measurement confirms the advice.
func (m *Measured) conclude(b *strings.Builder, advised string) {
	best := m.Best()
	switch {
	case best == nil:
		b.WriteString("\nNo leader was measured from everywhere that produces: what is best by measurement is not known.\n")
	case best.Leader == advised:
		fmt.Fprintf(b, "\nOf %d leaders that were measured %s is the best for these producers too.\n", len(m.Leaders), best.Leader)
	default:
		advice := fmt.Sprintf("%s, which the distances advise, was not measured from everywhere that produces", advised)
		for _, l := range m.Leaders {
			if l.Leader == advised && l.Mean > 0 {
				advice = fmt.Sprintf("%s, which the distances advise, has %s ms", advised, ms(l.Mean))
			}
		}
		fmt.Fprintf(b, "\nOf %d leaders that were measured %s is the best for these producers with a mean of %s ms; %s.\n", len(m.Leaders), best.Leader,
			ms(best.Mean), advice)
	}
}

func ms(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()*1e3) }
