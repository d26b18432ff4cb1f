package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"ackline/broker/id"
	"ackline/broker/node/admin"
)

// unwell is the exit code of a status that somebody should look at.
const unwell = 3

func (c *adminClient) status(ctx context.Context) (int, error) {
	var s admin.Status
	if err := c.ask(ctx, "/admin/status", nil, &s); err != nil {
		return 0, err
	}
	code := 0
	if s.Counts.Leaderless+s.Counts.UnderReplicated > 0 || s.Metadata.Leader == 0 {
		code = unwell
	}
	if !c.print(s) {
		showStatus(c.out, s, time.Now())
	}
	return code, nil
}

func showStatus(out io.Writer, s admin.Status, now time.Time) {
	fmt.Fprintf(out, "cluster %s, as node %d knows it\n", s.ClusterID, s.Asked)
	for _, w := range s.Warnings {
		fmt.Fprintln(out, "warning:", w)
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nnode\tstate\tsince\tleads\treplicas\tkafka\traft\tzone\tincarnation")
	for _, n := range s.Nodes {
		since := "-"
		if !n.Since.IsZero() {
			since = now.Sub(n.Since).Round(time.Second).String()
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", n.ID, n.State, since, n.Leads, n.Replicas, dash(n.KafkaAddr), n.RaftAddr,
			dash(strings.Trim(n.Region+"/"+n.Zone, "/")), dash(n.Incarnation))
	}
	t.Flush()
	showRoundTrips(out, s)
	m := s.Metadata
	leader := "nobody"
	if m.Leader != 0 {
		leader = fmt.Sprintf("node %d, epoch %d", m.Leader, m.Epoch)
	}
	fmt.Fprintf(out, "\nmetadata: led by %s; voters %v", leader, m.Voters)
	if len(m.Learners) > 0 {
		fmt.Fprintf(out, ", learners %v", m.Learners)
	}
	fmt.Fprintf(out, "\n%d topics, %d partitions: %d without a leader, %d with too few replicas; %d old replicas still to be deleted\n",
		s.Counts.Topics, s.Counts.Partitions, s.Counts.Leaderless, s.Counts.UnderReplicated, s.Counts.Going)
	showPartitions(out, "without a leader", s.Leaderless, s.Counts.Leaderless)
	showPartitions(out, "too few replicas", s.UnderReplicated, s.Counts.UnderReplicated)
}

// showRoundTrips draws the matrix, a row for each node that measured. What the two sides of a pair measured differs by what their
// own readers add.
func showRoundTrips(out io.Writer, s admin.Status) {
	trips := map[[2]id.NodeID]int64{}
	for _, r := range s.RoundTrips {
		trips[[2]id.NodeID{r.From, r.To}] = r.SmoothedUs
	}
	if len(trips) == 0 {
		return
	}
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\nround trip, ms, from")
	for _, n := range s.Nodes {
		fmt.Fprintf(t, "\tto %d", n.ID)
	}
	fmt.Fprintln(t)
	for _, from := range s.Nodes {
		fmt.Fprint(t, from.ID)
		for _, to := range s.Nodes {
			cell := "-"
			if us, ok := trips[[2]id.NodeID{from.ID, to.ID}]; ok {
				cell = fmt.Sprintf("%.3f", float64(us)/1000)
			}
			fmt.Fprint(t, "\t", cell)
		}
		fmt.Fprintln(t)
	}
	t.Flush()
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// showPartitions lists what is wrong, of which there are all.
func showPartitions(out io.Writer, what string, list []admin.Partition, all int) {
	for _, p := range list {
		var lacks []string
		for _, l := range p.Lacks {
			lacks = append(lacks, fmt.Sprintf("node %d: %s", l.Node, l.Why))
		}
		unsure := ""
		if p.Unsure {
			unsure = " (its leader was not heard)"
		}
		fmt.Fprintf(out, "  %s: %s/%d on nodes %v%s; %s\n", what, p.Topic, p.Partition, p.Replicas, unsure, dash(strings.Join(lacks, ", ")))
	}
	if all > len(list) {
		fmt.Fprintf(out, "  %s: and %d more\n", what, all-len(list))
	}
}

func (c *adminClient) leaders(ctx context.Context, topic string) error {
	var l admin.Leaders
	if err := c.ask(ctx, "/admin/leaders", nil, &l); err != nil {
		return err
	}
	if topic != "" {
		l.Partitions = slices.DeleteFunc(l.Partitions, func(p admin.Partition) bool { return p.Topic != topic })
		if len(l.Partitions) == 0 {
			return &refusedError{c.flags.HTTPAddr, fmt.Sprintf("there is no topic %q", topic), http.StatusNotFound}
		}
	}
	if c.print(l) {
		return nil
	}
	t := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "node\tleads")
	for _, n := range slices.Sorted(maps.Keys(l.Nodes)) {
		fmt.Fprintf(t, "%d\t%d\n", n, l.Nodes[n])
	}
	fmt.Fprintln(t, "\npartition\tleader\tepoch\treplicas")
	for _, p := range l.Partitions {
		leader := "-"
		if p.Leader != 0 {
			leader = fmt.Sprint(p.Leader)
		}
		fmt.Fprintf(t, "%s/%d\t%s\t%d\t%s\n", p.Topic, p.Partition, leader, p.Epoch, strings.Trim(fmt.Sprint(p.Replicas), "[]"))
	}
	return t.Flush()
}

// A removal is asked for again and again; what was not possible for want of an answer may be a moment later.
const (
	removeEvery = 300 * time.Millisecond
	removeTries = 20 // in a row that may fail
)

func (c *adminClient) remove(ctx context.Context, r admin.RemoveRequest, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	said, failed := "", 0
	for {
		var got admin.RemoveAnswer
		err := c.ask(ctx, "/admin/remove", r, &got)
		var refused *refusedError
		switch {
		case errors.As(err, &refused) && refused.status != http.StatusServiceUnavailable:
			return err
		case err != nil && ctx.Err() == nil:
			if failed++; failed == removeTries {
				return err
			}
		case err == nil && got.Gone:
			if !c.print(got) {
				fmt.Fprintf(c.out, "node %d is removed\n", r.Node)
			}
			return nil
		case err == nil:
			failed = 0
			if line := progressOf(r.Node, got); line != said {
				said = line
				fmt.Fprintln(c.err, line)
			}
		}
		select {
		case <-time.After(removeEvery):
		case <-ctx.Done():
			return fmt.Errorf("node %d is not removed yet (%s): what was begun goes on; say the same again to end it: %w", r.Node, said, ctx.Err())
		}
	}
}

// progressOf is a line that says how far a removal is.
func progressOf(n id.NodeID, a admin.RemoveAnswer) string {
	line := fmt.Sprintf("node %d: %d replicas left", n, a.Left)
	if len(a.Waiting) > 0 {
		line += ", among them " + strings.Join(a.Waiting, ", ")
	}
	return line
}
