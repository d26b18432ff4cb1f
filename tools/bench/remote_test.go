package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"ackline/loadgen/brokertest"
	"ackline/loadgen/brokertest/guarded"
	"ackline/loadgen/secure"
	"ackline/tools/bench/record"
	"ackline/tools/bench/sum"
	"ackline/tools/floor/echo"
)

// Three nodes of ackline with a quorum floor and an echo: everything that can run on them runs, in turns, is read back and deleted.
func TestHostsOfThree(t *testing.T) {
	kafka, http := brokers(t, 3)
	b, args := prepare(t, latency+others, fmt.Sprintf("note = \"three in memory\"\nbrokers = %s\nhttp = %s\n[floor]\naddr = %q\nnodes = 3\necho = %q\n",
		quoted(kafka), quoted(http), floor(t, 3, 76), bareEcho(t, 16684)))
	b.run(t.Context(), t, args)
	b.measured(t)
	r := b.results
	var ran, left []string
	for _, s := range r.Scenarios {
		ran = append(ran, s.Name+":"+s.FloorIs)
	}
	for _, l := range r.Remote.LeftOut {
		left = append(left, l.Scenario)
	}
	if got := strings.Join(ran, ", "); got != "dc3-latency-1:durable quorum echo of 3 nodes, throughput:durable quorum echo of 3 nodes, end-to-end:durable quorum echo of 3 nodes, "+
		"fetch-1:TCP echo, sweep:durable quorum echo of 3 nodes, partitions-6:one partition" {
		t.Errorf("ran %s", got)
	}
	if got := strings.Join(left, " "); got != "latency-1 recovery-small failover-small dc5-latency-1" {
		t.Errorf("left out %s", got)
	}
	if r.Remote.Hosts != 3 || r.SyncMethod != "" || r.FloorVersion != 0 || r.Host.Get("remote") != "3 hosts" || r.Host.Get("client_cpus") == "unknown" {
		t.Errorf("%+v, synced with %q, floor %d", r.Remote, r.SyncMethod, r.FloorVersion)
	}
	for _, l := range r.Launches {
		if l.Scenario == "sweep" {
			continue
		}
		var sides []record.Side
		for _, sl := range l.Slices {
			sides = append(sides, sl.Side)
			for _, f := range sl.Figures {
				if strings.HasPrefix(f.Name, "device_") || f.Name == "cpu_ns_per_request" || f.Name == "resident_bytes" {
					t.Errorf("%s claims to know %s of machines that it cannot see", l.Scenario, f.Name)
				}
			}
		}
		// One cycle, and what the host spoilt once more.
		want := slices.Repeat([]record.Side{record.System, record.Floor, record.Floor, record.System}, 1+sum.Again)
		if n := len(sides); n < 4 || n%4 != 0 || n > len(want) || !slices.Equal(sides, want[:n]) {
			t.Errorf("%s: sides %v, want A B B A", l.Scenario, sides)
		}
		if p, ok := l.Pair("rate"); l.Verdict == record.OK && (!ok || p.Ratio <= 0 || p.Floor <= 0) {
			t.Errorf("%s: no ratio to the floor, %+v", l.Scenario, l.Pairs)
		}
	}
	first := r.Of("dc3-latency-1")[0]
	if v, ok := first.Get(record.System, "told_cpu_ns_per_request"); !ok || v <= 0 || len(first.Stages) == 0 || len(first.Split) == 0 {
		t.Errorf("the brokers' own counters: CPU %v %v, stages %+v, split %+v", v, ok, first.Stages, first.Split)
	}
	if v, ok := first.Get(record.Host, "link_round_trip_us_p50"); !ok || v <= 0 {
		t.Errorf("the links' round trip is %v, %v", v, ok)
	}
	if notes := strings.Join(first.Notes, "; "); strings.Contains(notes, "--reply-bytes") {
		t.Errorf("the floor's answers are as long as the brokers': %s", notes)
	}
	if left := topics(t, kafka[0]); len(left) > 0 {
		t.Errorf("left on the cluster: %v", left)
	}
	page := b.page(t)
	for _, want := range []string{"**remote: 3 hosts**", "three in memory", "cannot be seen from the client", "so the hosts file says", "failover-small: it kills, pauses and stops nodes"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if again, _ := os.ReadDir(b.dir); len(again) != 7 {
		t.Errorf("left beside the suite: %v", again)
	}
}

// Any cluster will do, without a floor: then there is no ratio, and that is said.
func TestHostsWithoutFloor(t *testing.T) {
	c := brokertest.Start(t, 1)
	b, args := prepare(t, latency+others, fmt.Sprintf("note = \"a fake\"\nbrokers = [%q]\n", c.Addr()))
	b.run(t.Context(), t, args)
	b.measured(t)
	for i, l := range b.results.Launches {
		if s := b.results.Scenarios[i]; s.Name != l.Scenario || s.FloorIs != "" || len(l.Pairs) > 0 || len(l.Slices) == 0 ||
			slices.ContainsFunc(l.Slices, func(sl record.Slice) bool { return sl.Side != record.System }) {
			t.Errorf("%s beside %q: pairs %+v of %d slices", s.Name, s.FloorIs, l.Pairs, len(l.Slices))
		}
	}
	l, s := b.results.Launches[0], b.results.Scenarios[0]
	if s.FloorIs != "" || b.results.Remote.Floor != "" || len(l.Pairs) > 0 || len(l.Slices)%2 != 0 || len(l.Slices) > 2*(1+sum.Again) || l.Slices[1].Side != record.System {
		t.Errorf("beside %q: pairs %+v of %d slices", s.FloorIs, l.Pairs, len(l.Slices))
	}
	if v, ok := l.Get(record.System, "latency_us_p50"); l.Verdict == record.OK && (!ok || v <= 0) {
		t.Errorf("p50 is %v, %v", v, ok)
	}
	if !strings.Contains(b.said, "no floor") || l.Verdict == record.OK && !strings.Contains(b.said, "p50        no floor; ") {
		t.Errorf("said\n%s", b.said)
	}
	if page := b.page(t); !strings.Contains(page, "**no floor** was there") || !strings.Contains(page, "The limit is: unknown, there is no floor") ||
		l.Verdict == record.OK && !strings.Contains(page, "Without a floor, medians") {
		t.Errorf("the page does not say that there is no floor")
	}
}

// A floor whose answers have another length is told apart: a little is a note, much is no comparison.
func TestFloorOfAnotherLength(t *testing.T) {
	c := brokertest.Start(t, 1)
	for bytes, invalid := range map[int]bool{60: false, 4000: true} {
		b, args := prepare(t, latency, fmt.Sprintf("note = \"a fake\"\nbrokers = [%q]\n[floor]\naddr = %q\n", c.Addr(), floor(t, 1, bytes)))
		b.run(t.Context(), t, args)
		l := b.results.Launches[0]
		want := fmt.Sprintf("the floor's answers have %d bytes, the brokers' ", bytes)
		if strings.Contains(strings.Join(l.Reasons, "; "), want) != invalid || strings.Contains(strings.Join(l.Notes, "; "), want) == invalid {
			t.Errorf("%d bytes: reasons %q, notes %q", bytes, l.Reasons, l.Notes)
		}
		if invalid && (b.code != exitInvalid || len(l.Pairs) > 0) {
			t.Errorf("exit %d, pairs %+v", b.code, l.Pairs)
		}
	}
}

// Secrets open the cluster and are nowhere afterwards.
func TestHostsThatAreGuarded(t *testing.T) {
	c := guarded.Start(t, guarded.Ask{TLS: true, SASL: secure.ScramSHA256})
	b, args := prepare(t, latency, fmt.Sprintf("note = \"guarded\"\nbrokers = [%q]\n[security]\ntls = true\ntls_ca = %q\nsasl = \"scram-sha-256\"\nsasl_user = %q\nsasl_password_file = %q\n",
		c.Addr, c.CA, guarded.User, c.PasswordFile))
	b.run(t.Context(), t, args)
	b.measured(t)
	if !strings.Contains(b.said, "TLS, SASL SCRAM-SHA-256") {
		t.Errorf("said\n%s", b.said)
	}
	files := 0
	err := fs.WalkDir(os.DirFS(b.out), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(b.out, path))
		files++
		for _, secret := range []string{guarded.Password, c.PasswordFile, c.CA} {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s holds %q", path, secret)
			}
		}
		return err
	})
	if err != nil || files < 3 || strings.Contains(b.said+b.err, guarded.Password) {
		t.Errorf("%d files, %v", files, err)
	}
}

// A cluster that goes away ends the run with what had been measured.
func TestHostsThatGoAway(t *testing.T) {
	c := brokertest.Start(t, 1)
	b, args := prepare(t, strings.Replace(latency, "slice_ms = 120", "slice_ms = 60000", 1), fmt.Sprintf("note = \"a fake\"\nbrokers = [%q]\n", c.Addr()))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.run(context.Background(), t, append(args, "--launches", "3"))
	}()
	await(t, "nothing is written", func() bool { return c.Requests(0) > 20 })
	c.Kill(1)
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("it goes on without a cluster")
	}
	if b.code != exitFailed || !strings.Contains(b.err, "launch 1 of latency-1: went away: the brokers: no broker answers") ||
		!strings.Contains(b.err, "what was measured until then is in "+b.out) || !strings.Contains(b.err, `topic "loadgen-`) || !strings.Contains(b.err, "delete it by hand") {
		t.Errorf("exit %d\n%s", b.code, b.err)
	}
	if r := b.results; r == nil || len(r.Launches) != 1 || r.Launches[0].Verdict != record.Failed {
		t.Errorf("recorded %+v", r)
	}
}

// ^C deletes what was made.
func TestHostsInterrupted(t *testing.T) {
	c := brokertest.Start(t, 1)
	b, args := prepare(t, strings.Replace(latency, "slice_ms = 120", "slice_ms = 60000", 1), fmt.Sprintf("note = \"a fake\"\nbrokers = [%q]\n", c.Addr()))
	ctx, interrupt := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.run(ctx, t, args)
	}()
	await(t, "nothing is written", func() bool { return c.Requests(0) > 20 })
	interrupt()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("it is not interrupted")
	}
	if b.code != exitInterrupted || strings.Contains(b.err, "by hand") {
		t.Errorf("exit %d\n%s", b.code, b.err)
	}
	if made, deleted := c.Requests(kmsg.CreateTopics.Int16()), c.Requests(kmsg.DeleteTopics.Int16()); made != 1 || deleted != 1 {
		t.Errorf("%d topics were made and %d deleted", made, deleted)
	}
}

// What cannot be right is refused before anything is connected to.
func TestHostsCommandLine(t *testing.T) {
	b, args := prepare(t, latency+others, "note = \"x\"\nbrokers = [\"127.0.0.1:1\"]\n")
	for _, c := range []struct {
		more []string
		code int
		want string
	}{
		{[]string{"--show"}, exitOK, "left out     failover-small: it kills, pauses and stops nodes"},
		{[]string{"--show"}, exitOK, "tiny (remote): remote-1 × default × [latency-1 throughput end-to-end fetch-1 sweep]"},
		{[]string{"--scenario", "failover-small"}, exitUsage, "--scenario failover-small: it kills, pauses and stops nodes"},
		{[]string{"--scenario", "dc3-latency-1"}, exitUsage, "for 3 nodes, and the hosts file has one copy"},
		{[]string{"--dir", b.dir}, exitUsage, "--dir and --allow-fs are for brokers that bench starts"},
		{[]string{"--allow-fs", "tmpfs"}, exitUsage, "--dir and --allow-fs are for brokers that bench starts"},
		{[]string{"--hosts", "none.toml"}, exitUsage, "none.toml"},
		{nil, exitFailed, "is one listening there?"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), append(slices.Clone(args), c.more...), &out, &errs); code != c.code || !strings.Contains(out.String()+errs.String(), c.want) {
			t.Errorf("%v: exit %d\n%s%s\nwant exit %d and %q", c.more, code, out.String(), errs.String(), c.code, c.want)
		}
	}
}

// A floor that is gone when its turn comes ends the run, too.
func TestFloorThatGoesAway(t *testing.T) {
	c := brokertest.Start(t, 1)
	f, err := echo.Listen(echo.Config{ListenAddr: "127.0.0.1:0", ReplyBytes: 76, BatchBytes: echo.DefaultBatchBytes}, nowhere{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served, ended := make(chan error, 1), make(chan struct{})
	go func() { served <- f.Serve(ctx) }()
	b, args := prepare(t, latency, fmt.Sprintf("note = \"a fake\"\nbrokers = [%q]\n[floor]\naddr = %q\n", c.Addr(), f.Addr()))
	go func() {
		defer close(ended)
		b.run(context.Background(), t, append(args, "--launches", "3"))
	}()
	await(t, "nothing is written", func() bool { return c.Requests(0) > 0 })
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	<-ended
	if b.code != exitFailed || !strings.Contains(b.err, "went away: the floor: nobody answers") || b.results == nil || len(b.results.Launches) != 1 {
		t.Errorf("exit %d\n%s", b.code, b.err)
	}
}
