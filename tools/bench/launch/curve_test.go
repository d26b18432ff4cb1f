package launch

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"ackline/broker/node"
	"ackline/broker/node/config"
	"ackline/profiles"
	"ackline/tools/bench/disk"
	"ackline/tools/bench/record"
)

// actAsBroker is a real node in a process of its own, which can be killed.
func actAsBroker(args []string) error {
	flag := map[string]string{}
	for i := 1; i+1 < len(args); i += 2 {
		flag[args[i]] = args[i+1]
	}
	cfg, err := config.Load(flag["--config"])
	if err != nil {
		return err
	}
	cfg.Node.DataDir, cfg.Node.ListenAddr, cfg.Node.HTTPAddr = flag["--data-dir"], flag["--listen-addr"], flag["--http-addr"]
	n, err := node.Open(cfg, node.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	fmt.Printf("broker ready: kafka %s http %s sync %s recovered %d bytes in %s\n", n.ListenAddr(), n.HTTPAddr(), n.SyncMethod(), n.Recovery.Bytes, n.Recovery.Duration)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return n.Close(context.Background())
}

// A real broker is killed and comes back once for each point; what each point says is of its own size, and all of it is read back.
func TestCurve(t *testing.T) {
	w := produceWorkload()
	w.Kind, w.Connections, w.InFlight, w.RecordBytes, w.GatedPairs = profiles.Curve, 2, 16, 1024, nil
	w.Points = []profiles.Point{{PreloadBytes: 1 << 20, Partitions: 1, RingBytes: 64 << 20}, {PreloadBytes: 4 << 20, Partitions: 3, RingBytes: 96 << 20}}
	p, _, _ := stage(t, w)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p.Programs.Broker = filepath.Join(t.TempDir(), "broker")
	if err := os.WriteFile(p.Programs.Broker, []byte("#!/bin/sh\nACT_AS_BROKER=1 exec "+self+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.Cold = disk.Evict // a test leaves the machine's page cache alone
	var steps []string
	p.Progress = func(s string) { steps = append(steps, s) }
	l := sure(t, p)
	if l.Verdict != record.OK || len(l.Points) != 2 || len(l.Pairs) != 2 || l.Pairs[0].Name != "ack-1M-x1" || l.Pairs[1].Name != "ack-4M-x3" {
		t.Fatalf("%s %q: points %+v, pairs %+v", l.Verdict, l.Reasons, l.Points, l.Pairs)
	}
	for i, x := range l.Points {
		asked := w.Points[i]
		if x.WrittenBytes != asked.PreloadBytes || x.Groups != asked.Partitions || x.LiveBytes < float64(asked.PreloadBytes) {
			t.Errorf("point %d: %+v, asked for %+v", i, x, asked)
		}
		if x.FloorMs <= 0 || x.OpenMs <= 0 || x.FirstAckMs < x.OpenMs || x.CaughtUpMs < x.FirstAckMs || x.RestoredMs != 0 || x.PeakBytes < 1<<20 || x.RestBytes < 1<<20 {
			t.Errorf("point %d: %+v", i, x)
		}
	}
	if l.Points[1].LiveBytes <= l.Points[0].LiveBytes {
		t.Errorf("live bytes %v, then %v of four times as many records", l.Points[0].LiveBytes, l.Points[1].LiveBytes)
	}
	if c := l.Check; c.Acknowledged < 5<<10 || c.Read < c.Acknowledged {
		t.Errorf("check %+v, want at least 5 MiB of records of 1 KiB", c)
	}
	if text := strings.Join(steps, "\n"); !strings.Contains(text, "1 MiB in 1 groups: restarting from a cold cache") || !strings.Contains(text, "4 MiB in 3 groups: writing") {
		t.Errorf("steps %q", steps)
	}
	if left, err := os.ReadDir(p.Dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
