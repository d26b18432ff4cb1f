package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// patience is what only a hanging test exceeds, however little of the machine it gets.
const patience = 2 * time.Minute

// build compiles the broker once for all tests of this package.
var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ackline-broker")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "broker")
	out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := build(); err == nil {
		os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// process is a broker in a process of its own.
type process struct {
	cmd  *exec.Cmd
	addr string
	err  strings.Builder
}

// startProcess starts a broker and waits for the line that says it is ready.
func startProcess(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{}
	p.cmd = exec.Command(bin, append([]string{"start", "--data-dir", dir, "--listen-addr", "127.0.0.1:0", "--http-addr", "none",
		"--ring-bytes", "67108864", "--sync-method", "buffered-fdatasync"}, args...)...)
	p.cmd.Stderr = &p.err
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil { // the test failed before it stopped the broker
			p.cmd.Process.Kill()
			p.cmd.Wait()
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "broker ready: kafka ") {
		p.cmd.Wait()
		t.Fatalf("the broker said %q, %v; %s", line, err, p.err.String())
	}
	p.addr = strings.Fields(line)[3]
	return p
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.cmd.Wait()
}

func (p *process) stop(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("after SIGTERM: %v: %s", err, p.err.String())
	}
}

func newClient(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr), kgo.ProducerLinger(0)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// kills is how often the broker is killed in mid-run.
func kills() int {
	if os.Getenv("ACKLINE_NIGHTLY") != "" {
		return 1000
	}
	return 20
}

// TestKillNineLosesNothingAcknowledged kills a broker again and again while idempotent producers write, and reads every
// acknowledged record back after each restart: once, in order, at its offset.
func TestKillNineLosesNothingAcknowledged(t *testing.T) {
	dir := t.TempDir()
	acked := map[int64]string{}
	p := startProcess(t, dir)
	admin := newClient(t, p.addr)
	if _, err := kadm.NewClient(admin).CreateTopic(context.Background(), 1, 1, nil, "t"); err != nil {
		t.Fatal(err)
	}
	admin.Close()
	for round := range kills() {
		produceUntilKilled(t, p, round, acked)
		p = startProcess(t, dir)
		checkAcked(t, p.addr, round, acked)
	}
	p.stop(t)
	p = startProcess(t, dir)
	checkAcked(t, p.addr, -1, acked)
	p.stop(t)
}

// produceUntilKilled keeps many records in flight, kills the broker in the midst of them, and notes what was acknowledged.
func produceUntilKilled(t *testing.T, p *process, round int, acked map[int64]string) {
	t.Helper()
	c := newClient(t, p.addr, kgo.AllowIdempotentProduceCancellation())
	defer c.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var mu sync.Mutex
	fresh := map[int64]string{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for k := 0; ctx.Err() == nil; k++ {
			value := fmt.Sprintf("round %d record %d %s", round, k, strings.Repeat("x", k%2000))
			c.Produce(ctx, &kgo.Record{Topic: "t", Value: []byte(value)}, func(r *kgo.Record, err error) {
				if err == nil {
					mu.Lock()
					fresh[r.Offset] = string(r.Value)
					mu.Unlock()
				}
			})
			if k%100 == 0 {
				time.Sleep(time.Millisecond) // leave the broker some of the processors
			}
		}
	}()
	deadline := time.Now().Add(patience)
	for want := 300 + round*17%500; ; {
		mu.Lock()
		got := len(fresh)
		mu.Unlock()
		if got > want {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("round %d: %d records acknowledged in %v", round, got, patience)
		}
		time.Sleep(time.Millisecond)
	}
	p.kill(t)
	cancel() // what was in flight fails; whether it was written, nobody knows
	<-done
	mu.Lock()
	defer mu.Unlock()
	for o, v := range fresh {
		if old, twice := acked[o]; twice {
			t.Fatalf("round %d: offset %d was acknowledged for %q and again for %q", round, o, old, v)
		}
		acked[o] = v
	}
}

func checkAcked(t *testing.T, addr string, round int, acked map[int64]string) {
	t.Helper()
	c := newClient(t, addr, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"t": {0: kgo.NewOffset().AtStart()}}),
		kgo.FetchMaxWait(50*time.Millisecond))
	defer c.Close()
	ends, err := kadm.NewClient(c).ListEndOffsets(context.Background(), "t")
	if err != nil {
		t.Fatal(err)
	}
	end, ok := ends.Lookup("t", 0)
	if !ok || end.Err != nil {
		t.Fatalf("round %d: end offset: %v", round, end.Err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	found, seen := 0, map[string]int64{}
	for next := int64(0); next < end.Offset; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("round %d: read %d of %d: %v", round, next, end.Offset, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset != next {
				t.Fatalf("round %d: offset %d where %d is next", round, r.Offset, next)
			}
			next++
			v := string(r.Value)
			if at, twice := seen[v]; twice {
				t.Fatalf("round %d: %q stands at %d and at %d", round, v, at, r.Offset)
			}
			seen[v] = r.Offset
			if want, ok := acked[r.Offset]; ok {
				if v != want {
					t.Fatalf("round %d: offset %d holds %q, %q was acknowledged", round, r.Offset, v, want)
				}
				found++
			}
		})
	}
	if found != len(acked) {
		t.Fatalf("round %d: %d of %d acknowledged records are there", round, found, len(acked))
	}
}

func TestSecondProcessOnADataDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	p := startProcess(t, dir)
	defer p.stop(t)
	code, _, errOut := runWith(t, "start", "--data-dir", dir, "--listen-addr", "127.0.0.1:0", "--http-addr", "none")
	if code != 1 || !strings.Contains(errOut, "in use") {
		t.Fatalf("exit %d, %q; want 1 and \"in use\"", code, errOut)
	}
}

// TestKcat produces and consumes with every compression through librdkafka.
func TestKcat(t *testing.T) {
	if _, err := exec.LookPath("kcat"); err != nil {
		t.Skip("needs kcat: the compressions are also covered by franz-go")
	}
	p := startProcess(t, t.TempDir(), "--auto-create-topics")
	defer p.stop(t)
	var lines strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&lines, "record number %d\n", i)
	}
	for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		topic := "z-" + codec
		produce := exec.Command("kcat", "-P", "-b", p.addr, "-t", topic, "-z", codec, "-X", "acks=all")
		produce.Stdin = strings.NewReader(lines.String())
		if out, err := produce.CombinedOutput(); err != nil {
			t.Fatalf("kcat -P -z %s: %v: %s", codec, err, out)
		}
		out, err := exec.Command("kcat", "-C", "-b", p.addr, "-t", topic, "-e", "-q").Output()
		if err != nil || string(out) != lines.String() {
			t.Fatalf("kcat -C of %s: %v, %d bytes of %d", codec, err, len(out), lines.Len())
		}
	}
}
