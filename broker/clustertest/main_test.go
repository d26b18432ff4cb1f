package clustertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"
	"time"
)

// lookAgain is how often a client asks who the nodes are. Here all of a cluster's nodes may be others within seconds, and one that
// asked only when something fails would know none that is left.
const lookAgain = time.Second

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

// TestMain removes the program that the tests have built.
func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := broker(); err == nil {
		os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}

// rounds is how often something is done to a cluster: a few times here, many in the nightly run.
func rounds(few int) int {
	if nightly() {
		return 25 * few
	}
	return few
}

func nightly() bool { return os.Getenv("ACKLINE_NIGHTLY") != "" }

// fewer is rounds for what takes long: shorter yet in -short runs, which go along with every other package's tests. Kills are not
// among it: there are 20 rounds of kill -9 in every run.
func fewer(few, short int) int {
	if testing.Short() && !nightly() {
		return short
	}
	return rounds(few)
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
