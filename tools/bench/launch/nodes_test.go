package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"ackline/tools/bench/record"
	"ackline/tools/floor/echo"
	"ackline/tools/floor/quorum"
)

// actAsQuorum is a node of the floor of several. With ACT_AS_SLOW_FLOOR the leader does more than it must: it waits for its own
// disk, which is the slowest of them.
func actAsQuorum(ctx context.Context, flag map[string]string, disk echo.Appender, about string) error {
	serve := func(s interface {
		Addr() string
		Serve(context.Context) error
	}) error {
		fmt.Printf("floor ready addr=%s %s\n", s.Addr(), about)
		return s.Serve(ctx)
	}
	if flag["--follow"] != "" {
		f, err := quorum.ListenFollower(quorum.FollowerConfig{ListenAddr: flag["--listen-addr"], BatchBytes: echo.DefaultBatchBytes}, disk)
		if err != nil {
			return err
		}
		return serve(f)
	}
	size, err := strconv.Atoi(flag["--reply-bytes"])
	if err != nil {
		return err
	}
	cfg := quorum.Config{ListenAddr: flag["--listen-addr"], Followers: strings.Split(flag["--followers"], ","), ReplyBytes: size,
		BatchBytes: echo.DefaultBatchBytes, WindowBytes: quorum.DefaultWindowBytes}
	if os.Getenv("ACT_AS_SLOW_FLOOR") != "" {
		disk = slowDisk{disk}
	}
	if flag["--straight"] != "" {
		l, err := quorum.ListenStraight(ctx, cfg, disk)
		if err != nil {
			return err
		}
		return serve(l)
	}
	l, err := quorum.Listen(ctx, cfg, disk)
	if err != nil {
		return err
	}
	return serve(l)
}

// slowDisk takes longer for a write than a busy test machine does for anything else.
type slowDisk struct{ echo.Appender }

func (d slowDisk) Append(b []byte) error {
	time.Sleep(20 * time.Millisecond)
	return d.Appender.Append(b)
}

// The floor of several nodes answers for itself beside its parts, and one that does more than it must makes the run invalid.
func TestQuorumAnswersForItself(t *testing.T) {
	for _, slow := range []string{"", "1"} {
		t.Setenv("ACT_AS_SLOW_FLOOR", slow)
		p, _, _ := stageOf(t, produceWorkload(), 3)
		p.Suite.CheckSliceMs = 2000
		l := sure(t, p)
		hop, _ := l.Get(record.Host, "follower_hop_us_p50")
		sync, _ := l.Get(record.Host, "sync_of_each_node_us_p50")
		sum, _ := l.Get(record.Host, "hop_and_sync_us_p50")
		trial, _ := l.Get(record.Host, record.QuorumTrial)
		if hop <= 0 || sync <= 0 || sum <= 0 || trial <= 0 || trial < hop {
			t.Errorf("a hop of %v µs, a sync of %v, both %v, together %v", hop, sync, sum, trial)
		}
		ratio, ok := l.Get(record.Host, record.FloorCheck)
		if !ok || !(ratio > 0) {
			t.Errorf("the floor's check is %v, %v", ratio, ok)
		}
		if slow == "" {
			continue
		}
		l.Verdict, l.Reasons = record.OK, nil
		r := &record.Results{Format: record.Format, Scenarios: []record.Scenario{{Name: p.Scenario.Name}}}
		for i := range 6 {
			l.Number = i + 1
			r.Launches = append(r.Launches, l)
		}
		verdict, reasons := record.Judge(r)
		if verdict != record.Invalid || !strings.Contains(strings.Join(reasons, "\n"), "× (hop and sync of a majority + TCP echo), want at most 1.10: the floor does more than it must") {
			t.Errorf("a floor that waits 20 ms for its own disk, %v times its parts: %s %q", ratio, verdict, reasons)
		}
	}
}

// Three nodes are started, drained and counted together, and stand beside a floor of three.
func TestLaunchOfThreeNodes(t *testing.T) {
	p, _, checkpoints := stageOf(t, produceWorkload(), 3)
	l := sure(t, p)
	if n, want := int(checkpoints.Load()), 3*(1+2*cycles(l)); n != want { // three nodes, after the warm-up and after each of the system's slices
		t.Errorf("%d checkpoints, want %d", n, want)
	}
	for i := 1; i <= 3; i++ {
		for _, name := range []string{"broker", "floor"} {
			if st, err := os.Stat(filepath.Join(p.Out, fmt.Sprintf("launch-03-scenario-%s-%d.log", name, i))); err != nil || st.Size() == 0 {
				t.Errorf("node %d of the %s: %v", i, name, err)
			}
		}
	}
	if v, ok := l.Get(record.Host, "link_round_trip_us_p50"); l.Verdict == record.OK && (!ok || v <= 0) {
		t.Errorf("the links' round trip is %v, %v", v, ok)
	}
	for _, sl := range answered(l) {
		lead, rest := get(t, sl.Figures, "leader_cpu_ns_per_request"), get(t, sl.Figures, "follower_cpu_ns_per_request")
		if all := get(t, sl.Figures, "cpu_ns_per_request"); lead <= 0 || rest < 0 || lead+rest < all*0.999 || lead+rest > all*1.001 {
			t.Errorf("slice %d: %v ns of the leader and %v of the followers, %v of all", sl.Number, lead, rest, all)
		}
	}
	if left, _ := os.ReadDir(p.Dir); len(left) != 0 {
		t.Errorf("left on the disk: %v", left)
	}
}

// Another leader at the end spoils the launch.
func TestElectionSpoilsTheLaunch(t *testing.T) {
	p, cluster, _ := stageOf(t, produceWorkload(), 3)
	p.Progress = func(step string) {
		if strings.HasPrefix(step, "the links") {
			cluster.Move(topic, 0, 2)
		}
	}
	l, err := Run(context.Background(), p)
	if err != nil || l.Verdict != record.Invalid || !strings.Contains(strings.Join(l.Reasons, "\n"), "an election came between") {
		t.Errorf("%s %q, %v", l.Verdict, l.Reasons, err)
	}
}

// One process of several that fails is named, and none of the others stays behind.
func TestNodeThatFails(t *testing.T) {
	for _, c := range []struct{ program, when, want string }{
		{"broker", `case "$*" in *"--node-id 3"*) echo no luck >&2; exit 9;; esac`, "node 3: broker"},
		{"floor", `case "$*" in *--followers*) echo no luck >&2; exit 9;; esac`, "floor"},
	} {
		p, _, _ := stageOf(t, produceWorkload(), 3)
		name := map[string]string{"broker": p.Programs.Broker, "floor": p.Programs.Floor}[c.program]
		script, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		pids := filepath.Join(t.TempDir(), "pids")
		body := strings.TrimPrefix(string(script), "#!/bin/sh\n")
		if err := os.WriteFile(name, []byte("#!/bin/sh\necho $$ >> "+pids+"\n"+c.when+"\n"+body), 0o755); err != nil {
			t.Fatal(err)
		}
		l, err := Run(context.Background(), p)
		if err != nil || l.Verdict != record.Failed || !strings.Contains(strings.Join(l.Reasons, "\n"), c.want) || !strings.Contains(strings.Join(l.Reasons, "\n"), "no luck") {
			t.Errorf("%s: %s %q, %v", c.program, l.Verdict, l.Reasons, err)
		}
		noneLeft(t, pids, 3)
	}
}

// ^C ends all processes of both sides.
func TestInterruptedLaunchOfThreeNodes(t *testing.T) {
	p, _, _ := stageOf(t, produceWorkload(), 3)
	pids := filepath.Join(t.TempDir(), "pids")
	for _, name := range []string{p.Programs.Broker, p.Programs.Floor} {
		script, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(name, []byte("#!/bin/sh\necho $$ >> "+pids+"\n"+strings.TrimPrefix(string(script), "#!/bin/sh\n")), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	told := errors.New("^C")
	p.Progress = func(step string) {
		if strings.HasPrefix(step, "slice 2") {
			cancel(told)
		}
	}
	if _, err := Run(ctx, p); !errors.Is(err, told) {
		t.Errorf("got %v, want the cause", err)
	}
	noneLeft(t, pids, 6)
	if left, _ := os.ReadDir(p.Dir); len(left) != 0 {
		t.Errorf("left on the disk: %v", left)
	}
}

// noneLeft checks that at least so many processes were started, and that all of them have ended.
func noneLeft(t *testing.T, file string, atLeast int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pids := strings.Fields(string(text))
	if len(pids) < atLeast {
		t.Errorf("%d processes were started, want at least %d", len(pids), atLeast)
	}
	for _, pid := range pids {
		if _, err := os.Stat("/proc/" + pid); err == nil {
			t.Errorf("process %s is still there", pid)
		}
	}
}
