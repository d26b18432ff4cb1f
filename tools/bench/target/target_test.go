package target

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"ackline/profiles"
)

// programs are shell scripts that print a ready line and what they were called with.
func programs(t *testing.T, ready string) (Programs, string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"broker", "floor"} {
		script := fmt.Sprintf("#!/bin/sh\necho \"$@\" > %s/args\necho GOGC=$GOGC > %s/env\ntrap 'exit 0' TERM\necho '%s'\nwhile :; do sleep 0.01; done\n", dir, dir, ready)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return Programs{Broker: filepath.Join(dir, "broker"), Floor: filepath.Join(dir, "floor")}, dir
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func TestStartBroker(t *testing.T) {
	p, dir := programs(t, `broker ready: kafka 127.0.0.1:4242 http 127.0.0.1:4243 data "/d d" sync direct-dsync recovered 123 bytes in 4.5ms`)
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	c := BrokerConfig{DataDir: "/d", ListenAddr: "127.0.0.1:0", HTTPAddr: "127.0.0.1:0", RingBytes: 4096, SyncMethod: "direct-dsync", File: filepath.Join(dir, "config"),
		Log: filepath.Join(dir, "log"), Tuning: profiles.Tuning{WindowUs: 7, GCPercent: 400, TimerSlackUs: -1}}
	b, err := p.StartBroker(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Kill()
	if b.Addr != "127.0.0.1:4242" || b.HTTPAddr != "127.0.0.1:4243" || b.RecoveredBytes != 123 || b.RecoveredIn != 4500*time.Microsecond {
		t.Errorf("understood %+v", b)
	}
	if got := read(t, filepath.Join(dir, "args")); !strings.HasPrefix(got, "start --config "+c.File+" --data-dir /d --listen-addr 127.0.0.1:0") {
		t.Errorf("called with %q", got)
	}
	if got := read(t, c.File); got != "[wal]\nring_bytes = 4096\nsync_method = \"direct-dsync\"\nwindow_us = 7\n[limits]\ntimer_slack_us = -1" {
		t.Errorf("configured with %q", got)
	}
	if got := read(t, filepath.Join(dir, "env")); got != "GOGC=400" {
		t.Errorf("environment %q", got)
	}
	if err := b.Stop(StopTimeout); err != nil {
		t.Error(err)
	}
	c.SyncMethod = "buffered-dsync"
	if _, err := p.StartBroker(context.Background(), c); err == nil || !strings.Contains(err.Error(), `"direct-dsync", asked for "buffered-dsync"`) {
		t.Errorf("another sync method than asked for: %v", err)
	}
}

// A node of a cluster across regions is told where it is, and who is to lead.
func TestConfigurationAcrossRegions(t *testing.T) {
	c := BrokerConfig{RingBytes: 4096, SyncMethod: "m", Region: "eu", Zone: "a", Placing: Placing{HoldS: 3, EveryS: 1}}
	const want = "[wal]\nring_bytes = 4096\nsync_method = \"m\"\n[node]\nregion = \"eu\"\nzone = \"a\"\n" +
		"[cluster]\nleader_placement = \"latency\"\nleader_hold_s = 3\nleader_every_s = 1\n"
	if got := c.toml(); got != want {
		t.Errorf("configured with %q, want %q", got, want)
	}
	if c.Placing = (Placing{}); strings.Contains(c.toml(), "[cluster]") {
		t.Errorf("configured with %q: nobody is to choose", c.toml())
	}
}

func TestBrokerLinesThatAreRefused(t *testing.T) {
	for _, line := range []string{"broker ready: http 127.0.0.1:1 sync x", "broker ready: kafka 127.0.0.1:1", "broker ready: kafka a:1 sync x recovered many bytes in 1ms",
		"broker ready: kafka a:1 sync x recovered 1 bytes in a while"} {
		if b, err := parseBroker(line); err == nil {
			t.Errorf("%q: understood %+v", line, b)
		}
	}
}

func TestStartFloor(t *testing.T) {
	p, dir := programs(t, "floor ready addr=127.0.0.1:99 floor_version=3 reply_bytes=60 method=direct-dsync ring_bytes=8 file=/x")
	c := FloorConfig{Dir: "/f", Host: "127.0.0.1", RingBytes: 8, SyncMethod: "direct-dsync", ReplyBytes: 60, Log: filepath.Join(dir, "log")}
	f, err := p.StartFloor(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Kill()
	if f.Addr != "127.0.0.1:99" || f.Version != 3 || f.Method != "direct-dsync" {
		t.Errorf("understood %+v", f)
	}
	if got := read(t, filepath.Join(dir, "args")); got != "serve --dir /f --ring-bytes 8 --method direct-dsync --listen-addr 127.0.0.1:0 --reply-bytes 60" {
		t.Errorf("called with %q", got)
	}
	c.ReplyBytes = 61
	if _, err := p.StartFloor(context.Background(), c); err == nil || !strings.Contains(err.Error(), "61 bytes") {
		t.Errorf("another answer size than asked for: %v", err)
	}
	c.Dir, c.ReplyBytes = "", 60
	if _, err := p.StartFloor(context.Background(), c); err == nil || !strings.Contains(err.Error(), "method none") {
		t.Errorf("a durable floor where the bare echo was asked for: %v", err)
	}
}

// How long a paused echo paused stands in its last line.
func TestStopPaused(t *testing.T) {
	for done, want := range map[string]string{
		"floor done requests=3 pause_us_p50=41.25": "",
		"floor done requests=3 pause_us_p50=0.00":  "never did",
		"floor done requests=3":                    "how long it paused",
	} {
		p, dir := programs(t, "floor ready addr=127.0.0.1:99 floor_version=3 reply_bytes=60 method=none")
		script := "#!/bin/sh\ntrap 'echo " + done + "; exit 0' TERM\necho floor ready addr=a:1 floor_version=3 reply_bytes=60 method=none \"$@\"\nwhile :; do sleep 0.01; done\n"
		if err := os.WriteFile(p.Floor, []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := p.StartFloor(context.Background(), FloorConfig{Host: "127.0.0.1", ReplyBytes: 60, Pause: 41 * time.Microsecond, Log: filepath.Join(dir, "log")})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(f.Line(), "echo --pause 41µs --listen-addr") {
			t.Errorf("called with %q", f.Line())
		}
		us, err := f.StopPaused()
		if want == "" && (err != nil || us != 41.25) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: understood %v, %v", done, us, err)
		}
	}
}

func TestCheckNamesWhatIsMissing(t *testing.T) {
	if err := (Programs{Broker: "/no/broker", Floor: "/no/floor"}).Check(); err == nil || !strings.Contains(err.Error(), "/no/broker") {
		t.Errorf("got %v", err)
	}
}

const page = `# HELP ackline_produce_duration_seconds Time
# TYPE ackline_produce_duration_seconds histogram
ackline_produce_duration_seconds_bucket{stage="sync",le="0.0001"} 50
ackline_produce_duration_seconds_bucket{stage="sync",le="0.0002"} 150
ackline_produce_duration_seconds_bucket{stage="sync",le="+Inf"} 200
ackline_produce_duration_seconds_sum{stage="sync"} 1
ackline_produce_duration_seconds_bucket{le="0.0001",stage="reply"} 0
ackline_produce_duration_seconds_bucket{le="+Inf",stage="reply"} 0
ackline_checkpoint_duration_seconds_count 4
ackline_checkpoint_duration_seconds_sum 4.5
ackline_wal_bytes_total{method="a"} 8192
ackline_wal_bytes_total{method="b"} 4096
ackline_wal_batches_total{method="a"} 3
go_goroutines 9
go_memstats_mallocs_total 7e+04
`

func TestMetricsAndCheckpoint(t *testing.T) {
	asked := ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked += r.Method + " " + r.URL.Path + "\n"
		if r.URL.Path == "/metrics" {
			fmt.Fprint(w, page)
		} else if r.URL.Path != "/admin/checkpoint" || r.Method != http.MethodPost || strings.Count(asked, "POST") > 1 {
			http.Error(w, "the disk is full", http.StatusInternalServerError)
		}
	}))
	defer srv.Close()
	b := &Broker{HTTPAddr: strings.TrimPrefix(srv.URL, "http://")}
	m, err := b.Metrics(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if v := m.Values; v[Checkpoints] != 4 || v[WALBytes] != 12288 || v[WALBatches] != 3 || v[Allocations] != 70000 || len(v) != 4 || len(m.Stages) != 2 {
		t.Errorf("read %+v", m)
	}
	for q, want := range map[float64]float64{0.125: 0.00005, 0.25: 0.0001, 0.5: 0.00015, 0.75: 0.0002, 0.99: 0.0002} {
		if got := m.Stages["sync"].Quantile(q); math.Abs(got-want) > 1e-12 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if got := m.Stages["reply"].Quantile(0.5); !math.IsNaN(got) {
		t.Errorf("the median of nothing is %v", got)
	}
	if d := m.Sub(m); d.Values[Checkpoints] != 0 || d.Stages["sync"].Count() != 0 {
		t.Errorf("the difference of one reading with itself: %+v", d)
	}
	if d := m.Sub(Metrics{}); d.Values[WALBytes] != 12288 || d.Stages["sync"].Count() != 200 {
		t.Errorf("the difference with a reading of nothing: %+v", d)
	}
	if err := b.Checkpoint(context.Background()); err != nil {
		t.Error(err)
	}
	if err := b.Checkpoint(context.Background()); err == nil || !strings.Contains(err.Error(), "the disk is full") {
		t.Errorf("a checkpoint that fails: %v, want what the broker said", err)
	}
	if _, err := (&Broker{}).Metrics(context.Background()); err != ErrNoAdmin {
		t.Errorf("without HTTP: %v", err)
	}
	for _, bad := range []string{stageMetric + `_bucket{stage="x",le="much"} 1`, stageMetric + `_bucket{le="1"} 1`, WALBytes + " many"} {
		if _, err := parseMetrics(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was understood", bad)
		}
	}
}
