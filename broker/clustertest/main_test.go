package clustertest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"
	"time"
)

// patience is what only a hanging test exceeds, however little of the machine it gets.
const patience = time.Minute

// raced tells whether this test is built with the race detector; the brokers are then, too.
func raced() bool {
	info, _ := debug.ReadBuildInfo()
	if info != nil {
		for _, s := range info.Settings {
			if s.Key == "-race" {
				return s.Value == "true"
			}
		}
	}
	return false
}

// broker compiles the program once for all tests.
var broker = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ackline-broker")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "broker")
	args := []string{"build", "-o", bin}
	if raced() {
		args = append(args, "-race")
	}
	if out, err := exec.Command("go", append(args, "ackline/broker/cmd/broker")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
})

// TestMain keeps these tests out of -short runs, and so out of `make test`: they run with `go test ./broker/clustertest` and every
// night. Producers on franz-go still give up now and then where a broker stops between a connection and its first answer, which
// franz-go takes for a wrong protocol; until brokers avoid that a red run of these says too little about a change.
func TestMain(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("clusters of processes: not in -short runs; go test ./broker/clustertest")
		os.Exit(0)
	}
	code := m.Run()
	if bin, err := broker(); err == nil {
		os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// rounds is how often something is done to a cluster: a few times here, many in the nightly run.
func rounds(few int) int {
	if os.Getenv("ACKLINE_NIGHTLY") != "" {
		return 25 * few
	}
	return few
}

// until polls a condition that other processes bring about, so that nothing here could wake the test.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}
