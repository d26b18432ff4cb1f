package result

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"ackline/loadgen/hist"
	"ackline/loadgen/place"
)

// Print writes the summary for people.
func (r *Result) Print(out io.Writer) error {
	var b strings.Builder
	r.head(&b)
	if r.Drain != nil {
		r.drain(&b)
	} else {
		r.counts(&b)
	}
	if r.Latency != nil {
		r.latency(&b)
	}
	if r.Beside != nil && r.Verdict.Status != Failed {
		r.Beside.print(&b)
	}
	if r.Stages != nil {
		r.Stages.print(&b, r.Counts.Failed)
	}
	r.agents(&b)
	r.own(&b)
	r.checked(&b)
	r.verdict(&b)
	_, err := io.WriteString(out, b.String())
	return err
}

// Named says which topics, in words.
func (t Target) Named() string {
	if t.Topics > 0 {
		return fmt.Sprintf("%d topics %s", t.Topics, place.Parse(t.Topic).Listed())
	}
	return "topic " + t.Topic
}

// String says in a line what was done to what.
func (t Target) String() string {
	to := "floor " + t.Floor
	if t.Floor == "" {
		to = fmt.Sprintf("%s (%s, replication %d) at %s", t.Named(), plural(t.Partitions, "partition"), t.Replication, strings.Join(t.Brokers, ","))
	}
	direction := "to"
	if t.Workload == "fetch" {
		direction = "from"
	}
	return fmt.Sprintf("%s %s %s", t.Workload, direction, to)
}

func (r *Result) head(b *strings.Builder) {
	e, t := r.Effective, r.Target
	fmt.Fprintln(b, t)
	fmt.Fprintf(b, "  driver %s: %s × %d in flight on %s", e.Driver, plural(max(len(e.Connections), 1), "connection"), e.InFlight, plural(e.Threads, "thread"))
	if e.RecordsPerRequest > 0 {
		upTo := ""
		if e.Options["records"] != "" {
			upTo = "up to "
		}
		fmt.Fprintf(b, ", %s of %s%d bytes a request", plural(e.RecordsPerRequest, "record"), upTo, e.ValueBytes)
	}
	if e.RequestBytes > 0 {
		fmt.Fprintf(b, " (%d bytes out, %d back)", e.RequestBytes, e.ReplyBytes)
	}
	b.WriteString("\n")
	for _, name := range []string{"records", "partition by", "compression", "acks", "idempotence"} {
		if v := e.Options[name]; v != "" {
			fmt.Fprintf(b, "  %s: %s\n", name, v)
		}
	}
	if t.Security != "" {
		fmt.Fprintf(b, "  over %s\n", t.Security)
	}
	if t.Floor == "" && r.Beside == nil {
		b.WriteString("  no floor: these figures stand alone; with --floor beside --brokers a floor server (bin/floor serve, on the brokers' machines) gets the same load\n")
	}
	if w := r.WarmUp; w != nil {
		fmt.Fprintf(b, "  warm-up %.0f s, settled: %v\n", w.Seconds, w.Settled)
	}
}

func (r *Result) counts(b *strings.Builder) {
	c := r.Counts
	did := "acknowledged"
	if r.Unanswered {
		did = "sent"
	}
	fmt.Fprintf(b, "\n%d operations %s in %.1f s: %.0f/s", c.Acked, did, c.WindowSeconds, c.Rate())
	if c.WindowSeconds > 0 && c.Records > 0 {
		fmt.Fprintf(b, ", %.0f records/s, %.1f MB/s of values", float64(c.Records)/c.WindowSeconds, float64(c.ValueBytes)/c.WindowSeconds/1e6)
	}
	fmt.Fprintf(b, "; %d failed", c.Failed)
	if c.Unsent > 0 {
		fmt.Fprintf(b, " (%d of them never found room)", c.Unsent)
	}
	b.WriteString("\n")
	if r.Unanswered {
		b.WriteString("  acks 0: there are no answers, so there is no latency and nothing to check; these are counts of what the sockets took\n")
	}
	if len(c.ByCode) > 0 {
		b.WriteString("  failed:")
		for i, code := range slices.Sorted(maps.Keys(c.ByCode)) {
			if i > 0 {
				b.WriteString(",")
			}
			fmt.Fprintf(b, " %s %d", code, c.ByCode[code])
		}
		b.WriteString("\n")
	}
	for _, e := range c.Errors {
		fmt.Fprintf(b, "  error: %s\n", e)
	}
	r.consumers(b)
	r.outages(b)
	r.partitions(b)
}

// maxOutages is how many a summary lists; the JSON has all.
const maxOutages = 5

func (r *Result) outages(b *strings.Builder) {
	if len(r.Outages) == 0 {
		return
	}
	total := 0.0
	for _, o := range r.Outages {
		total += o.Seconds
	}
	fmt.Fprintf(b, "  %s without an acknowledgement for more than %g ms: %.3f s in all\n", plural(len(r.Outages), "stretch", "es"), r.GapMs, total)
	for i, o := range r.Outages {
		if i == maxOutages {
			fmt.Fprintf(b, "    and %d more\n", len(r.Outages)-i)
			break
		}
		open := ""
		if o.Open {
			open = ", to the end"
		}
		fmt.Fprintf(b, "    at %.3f s for %.3f s, %s%s\n", o.StartSeconds, o.Seconds, o.where(), open)
	}
}

func (r *Result) latency(b *strings.Builder) {
	if r.Verdict.Status == Invalid {
		b.WriteString("\nThe verdict is INVALID: what follows serves to find the cause, it is no result.\n")
	}
	fmt.Fprintf(b, "\n%-12s", "")
	for _, p := range Percentiles {
		fmt.Fprintf(b, "%12s", fmt.Sprintf("p%g", p))
	}
	fmt.Fprintf(b, "%12s\n", "max")
	l := r.Latency
	row := func(name string, s *Summary) {
		if s == nil {
			return
		}
		fmt.Fprintf(b, "%-12s", name)
		for _, p := range Percentiles {
			text := "–" // too few samples
			if v, ok := s.At(p); ok {
				text = hist.Value{NS: int64(v.US * 1e3), AtLeast: v.AtLeast}.String()
			}
			fmt.Fprintf(b, "%12s", text)
		}
		most := "–"
		if s.Count > 0 {
			most = hist.Value{NS: int64(s.MaxUS * 1e3)}.String()
		}
		fmt.Fprintf(b, "%12s\n", most)
	}
	row("response", &l.Response)
	row("service", &l.Service)
	row("backlog", &l.Backlog)
	row("lag", &l.Lag)
	row("end to end", l.E2E)
	row("delivery", l.Deliver)
	if l.E2E != nil {
		fmt.Fprintf(b, "  delivery: %d records were in a consumer's hand before their acknowledgement (0 above), %d were not seen\n", l.EarlyReads, l.Unread)
	}
}

func (r *Result) own(b *strings.Builder) {
	g := r.Generator
	fmt.Fprintf(b, "\ngenerator: %.2f s user, %.2f s system, %d preemptions, %.3f s ready without a CPU, %d collections, %.2f s stolen, %.2f s throttled\n",
		g.UserSeconds, g.SystemSeconds, g.Preemptions, g.RunDelaySeconds, g.GarbageCollections, g.StolenSeconds, g.ThrottledSeconds)
	var asked []string
	if g.Realtime {
		asked = append(asked, "real-time priority")
	}
	if g.CPUsAwake {
		asked = append(asked, "idle CPUs of this machine do not halt")
	}
	if asked != nil {
		fmt.Fprintf(b, "           %s (--no-realtime: not)\n", strings.Join(asked, ", "))
	}
}

func (r *Result) checked(b *strings.Builder) {
	c := r.Check
	if c == nil {
		b.WriteString("check: none\n")
		return
	}
	if !c.Done {
		fmt.Fprintf(b, "check: not finished after %d of %d acknowledged records: %s\n", c.Read, c.Acked, c.Error)
		return
	}
	fmt.Fprintf(b, "check: %d records acknowledged, %d read back in %.1f s: %d lost, %d repeated, %d out of order, %d misplaced, %d changed; %d present without an acknowledgement\n",
		c.Acked, c.Read, c.Seconds, c.Lost, c.Duplicated, c.Reordered, c.WrongOffset, c.WrongBytes, c.Unacked)
	for _, e := range c.Examples {
		fmt.Fprintf(b, "  %s\n", e)
	}
}

func (r *Result) verdict(b *strings.Builder) {
	fmt.Fprintf(b, "\n%s\n", r.Verdict.Status)
	for _, reason := range r.Verdict.Reasons {
		fmt.Fprintf(b, "  %s: %s\n", reason.Code, reason.Text)
	}
	if r.Verdict.Status == Failed {
		b.WriteString("  No latency is published: figures of a system that does not keep what it acknowledged mean nothing.\n")
	}
}

// plural counts things; ending is theirs if it is not an s.
func plural(n int, what string, ending ...string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %s%s", n, what, append(ending, "s")[0])
}
