// Package target knows how the programs that are measured are started, what they print, and how they are asked to settle.
//
// Command lines and the wording of ready lines change; the rest of the bench must not notice. So each program has one
// function here that starts it and returns what it said: where it listens, which sync method is in effect. What was asked
// for is compared with what came out: a broker that runs another sync method than the floor is an error, not a footnote.
package target

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"ackline/profiles"
	"ackline/tools/bench/proc"
)

// StartTimeout is how long a program may take until it is ready: a broker fills its ring with zeros first.
const StartTimeout = 60 * time.Second

// StopTimeout is how long a program may take to end when asked.
const StopTimeout = 20 * time.Second

// Programs are the executables' paths.
type Programs struct {
	Broker, Floor string
}

// Beside returns the programs in the directory of the running executable, which is where make build puts all of them.
func Beside() (Programs, error) {
	self, err := os.Executable()
	if err != nil {
		return Programs{}, fmt.Errorf("where this program is: %w", err)
	}
	dir := filepath.Dir(self)
	return Programs{Broker: filepath.Join(dir, "broker"), Floor: filepath.Join(dir, "floor")}, nil
}

// Check reports a program that is not there.
func (p Programs) Check() error {
	for _, name := range []string{p.Broker, p.Floor} {
		if st, err := os.Stat(name); err != nil || st.IsDir() || st.Mode()&0o111 == 0 {
			return fmt.Errorf("%s is not an executable: make build puts bench, broker and floor into bin/ together", name)
		}
	}
	return nil
}

// Broker is a running broker.
type Broker struct {
	*proc.Process
	Addr           string // where Kafka clients connect
	HTTPAddr       string // "" when it serves no HTTP
	SyncMethod     string
	client         *http.Client  // nil: the default one
	RecoveredBytes int64         // of the WAL, read at start
	RecoveredIn    time.Duration // by the broker's own clock
}

// BrokerConfig is what a launch decides about its broker.
type BrokerConfig struct {
	DataDir    string
	ListenAddr string   // host:port; port 0 takes a free one
	HTTPAddr   string   // the same
	NodeID     int      // of several; 0: a single node
	RaftAddr   string   // of several: where the others connect
	Peers      []string // the others, each ID@HOST:PORT
	Links      Links    // of several: what lies between them; nil: nothing
	Region     string   // where it is; "" = it does not know
	Zone       string
	Placing    Placing // of several: who is to lead
	RingBytes  int64
	SyncMethod string
	Tuning     profiles.Tuning
	File       string // where to write the configuration
	Log        string
	Enter      func(start func() error) error // as proc.Spec has it
	HTTP       *http.Client                   // that reaches HTTPAddr; nil: any does
}

// Placing is how leaders follow producers (cluster.leader_placement = "latency"). Zero: they do not.
type Placing struct {
	HoldS, EveryS int // cluster.leader_hold_s and leader_every_s
}

// Links carry what nodes say to one another.
type Links interface {
	Host(i int) string                       // the address that node i listens on
	Addr(from, to, port int) (string, error) // where node from finds a port of node to
}

// toml is the broker's configuration file. Keys that the tuning leaves at zero are left to the broker.
func (c BrokerConfig) toml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "[wal]\nring_bytes = %d\nsync_method = %q\n", c.RingBytes, c.SyncMethod)
	if c.Tuning.WindowUs > 0 {
		fmt.Fprintf(&b, "window_us = %d\n", c.Tuning.WindowUs)
	}
	if c.Tuning.TimerSlackUs != 0 {
		fmt.Fprintf(&b, "[limits]\ntimer_slack_us = %d\n", c.Tuning.TimerSlackUs)
	}
	if c.Region != "" {
		fmt.Fprintf(&b, "[node]\nregion = %q\nzone = %q\n", c.Region, c.Zone)
	}
	if c.Placing != (Placing{}) {
		fmt.Fprintf(&b, "[cluster]\nleader_placement = \"latency\"\nleader_hold_s = %d\nleader_every_s = %d\n", c.Placing.HoldS, c.Placing.EveryS)
	}
	return b.String()
}

func (c BrokerConfig) args() []string {
	common := []string{"--config", c.File, "--data-dir", c.DataDir, "--listen-addr", c.ListenAddr, "--http-addr", c.HTTPAddr}
	if c.NodeID == 0 {
		return append([]string{"start"}, common...)
	}
	return append(append([]string{"cluster"}, common...), "--node-id", strconv.Itoa(c.NodeID), "--raft-addr", c.RaftAddr, "--peers", strings.Join(c.Peers, ","))
}

func (c BrokerConfig) env() []string {
	var env []string
	if c.Tuning.GCPercent > 0 {
		env = append(env, "GOGC="+strconv.Itoa(c.Tuning.GCPercent))
	}
	if c.Tuning.MaxProcs > 0 {
		env = append(env, "GOMAXPROCS="+strconv.Itoa(c.Tuning.MaxProcs))
	}
	return env
}

// StartBroker starts a broker and waits until it serves; one of several, until it listens.
func (p Programs) StartBroker(ctx context.Context, c BrokerConfig) (*Broker, error) {
	if err := os.WriteFile(c.File, []byte(c.toml()), 0o644); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	ready := "broker ready"
	if c.NodeID != 0 {
		ready = "broker listens" // it is ready once the others are there
	}
	child, err := proc.Start(ctx, proc.Spec{Name: "broker", Path: p.Broker, Env: c.env(), Log: c.Log, Ready: ready, Args: c.args(), Enter: c.Enter})
	if err != nil {
		return nil, err
	}
	b, err := parseBroker(child.Line())
	if err == nil && b.SyncMethod != c.SyncMethod {
		err = fmt.Errorf("the broker runs with sync method %q, asked for %q", b.SyncMethod, c.SyncMethod)
	}
	if err != nil {
		child.Kill()
		return nil, err
	}
	b.Process, b.client = child, c.HTTP
	return b, nil
}

// parseBroker reads the ready line:
//
//	broker ready: kafka 127.0.0.1:4242 http 127.0.0.1:4243 data "/d" sync direct-dsync recovered 123 bytes in 4.5ms
func parseBroker(line string) (*Broker, error) {
	b := &Broker{}
	words := strings.Fields(line)
	for i := 0; i+1 < len(words); i++ {
		switch value := words[i+1]; words[i] {
		case "kafka":
			b.Addr = value
		case "http":
			b.HTTPAddr = value
		case "sync":
			b.SyncMethod = value
		case "recovered":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("broker: ready line %q: recovered bytes: %w", line, err)
			}
			b.RecoveredBytes = n
		case "in":
			d, err := time.ParseDuration(value)
			if err != nil {
				return nil, fmt.Errorf("broker: ready line %q: %w", line, err)
			}
			b.RecoveredIn = d
		}
	}
	if b.Addr == "" || b.SyncMethod == "" {
		return nil, fmt.Errorf("broker: ready line %q names no kafka address or no sync method", line)
	}
	return b, nil
}

// Floor is a running floor: the durable echo or the bare one.
type Floor struct {
	*proc.Process
	Addr    string
	Version int
	Method  string // "none" for the bare echo

	followers []*Floor // of a quorum
}

// FloorConfig is what a launch decides about its floor.
type FloorConfig struct {
	Dir        string // "" for the bare echo
	Host       string
	RingBytes  int64
	SyncMethod string
	ReplyBytes int           // of the broker's answers
	Pause      time.Duration // of the bare echo before each answer, as for a disk; 0: none
	Straight   bool          // of several nodes: one request is outstanding at most, for which the plainest leader is the fastest
	Log        string
}

// StartFloor starts a floor and waits until it serves.
func (p Programs) StartFloor(ctx context.Context, c FloorConfig) (*Floor, error) {
	args := []string{"echo"}
	want := "none"
	if c.Dir != "" {
		args = []string{"serve", "--dir", c.Dir, "--ring-bytes", strconv.FormatInt(c.RingBytes, 10), "--method", c.SyncMethod}
		want = c.SyncMethod
	}
	if c.Pause > 0 {
		args = append(args, "--pause", c.Pause.String())
	}
	args = append(args, "--listen-addr", c.Host+":0", "--reply-bytes", strconv.Itoa(c.ReplyBytes))
	ctx, cancel := context.WithTimeout(ctx, StartTimeout)
	defer cancel()
	child, err := proc.Start(ctx, proc.Spec{Name: "floor", Path: p.Floor, Args: args, Log: c.Log, Ready: "floor ready"})
	if err != nil {
		return nil, err
	}
	f := proc.Fields(child.Line())
	v, err := strconv.Atoi(f["floor_version"])
	if err == nil && (f["addr"] == "" || f["method"] != want || f["reply_bytes"] != strconv.Itoa(c.ReplyBytes)) {
		err = fmt.Errorf("asked for method %s and %d bytes", want, c.ReplyBytes)
	}
	if err != nil {
		child.Kill()
		return nil, fmt.Errorf("floor: ready line %q: %w", child.Line(), err)
	}
	return &Floor{Process: child, Addr: f["addr"], Version: v, Method: f["method"]}, nil
}

// StopPaused stops an echo that was started with a Pause, and returns the median of how long it paused, in µs.
func (f *Floor) StopPaused() (float64, error) {
	if err := f.Stop(StopTimeout); err != nil {
		return 0, err
	}
	us, err := strconv.ParseFloat(proc.Fields(f.Tail(1))["pause_us_p50"], 64)
	if err == nil && us <= 0 {
		err = errors.New("it never did")
	}
	if err != nil {
		return 0, fmt.Errorf("floor: how long it paused: %w\n%s", err, f.Tail(1))
	}
	return us, nil
}
