package plant

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"ackline/tools/compare/builds"
	"ackline/tools/compare/trial"
	"ackline/tools/stats"
)

// Series is what trials must have in common to be counted together.
type Series struct {
	Commit   builds.Commit `json:"commit"`
	Scenario string        `json:"scenario"`
	Quick    bool          `json:"quick"`
	Plan     trial.Plan    `json:"plan"` // without a seed
	Dir      string        `json:"dir"`  // the folder on the disk that is measured
}

// folder names the series' folder: a commit may have several, of other plans.
func (s *Series) folder() (string, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return fmt.Sprintf("%s-%x", s.Commit.Short(), sum[:4]), nil
}

// Trial is a comparison that is finished.
type Trial struct {
	Series  Series        `json:"series"`
	Kind    Kind          `json:"kind"`
	Number  int           `json:"number"`  // from 1, of its kind
	Started time.Time     `json:"started"` // or gone on with, the last time
	Ended   time.Time     `json:"ended"`
	Host    string        `json:"host"`              // digest of the machine's fingerprint
	Seed    uint64        `json:"seed,string"`       // of the comparison
	SpinNs  int64         `json:"spin_ns,omitempty"` // planted
	P50US   float64       `json:"p50_us,omitempty"`  // which the spin is a part of, µs
	Pairs   int           `json:"pairs"`
	Verdict stats.Verdict `json:"verdict"`
	Rows    []trial.Row   `json:"rows"` // what decided, and the p50 itself
	Spoilt  int           `json:"spoilt,omitempty"`
	Broken  []string      `json:"broken,omitempty"`
}

// row is the trial's figure by its name; nil when it has none.
func (t *Trial) row(name string) *trial.Row {
	for i := range t.Rows {
		if t.Rows[i].Name == name {
			return &t.Rows[i]
		}
	}
	return nil
}

// logName is the log's file.
const logName = "trials.jsonl"

// Read reads the log below out; a folder without one has no trials. The line that a crash cut short counts for nothing: its trial is not
// finished.
func Read(out string) ([]Trial, error) {
	trials, _, err := read(filepath.Join(out, logName))
	return trials, err
}

// read returns the trials and how many bytes their lines take.
func read(name string) (all []Trial, whole int64, err error) {
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	for n := 1; ; n++ {
		line, rest, ended := bytes.Cut(data, []byte("\n"))
		if !ended {
			return all, whole, nil
		}
		var t Trial
		if err := json.Unmarshal(line, &t); err != nil {
			return nil, 0, fmt.Errorf("%s:%d: %w: want a trial a line; mend or remove the line, and its trial is made again", name, n, err)
		}
		all, whole, data = append(all, t), whole+int64(len(line))+1, rest
	}
}

// Log is the log, open to be written to by one process.
type Log struct {
	Trials []Trial
	name   string
	lock   *os.File
}

// Open opens the log below out and holds it.
func Open(out string) (*Log, error) {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return nil, err
	}
	lock, err := builds.Hold(filepath.Join(out, "lock"))
	if err != nil {
		return nil, err
	}
	l := &Log{name: filepath.Join(out, logName), lock: lock}
	var whole int64
	if l.Trials, whole, err = read(l.name); err == nil {
		err = os.Truncate(l.name, whole)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(err, lock.Close())
	}
	return l, nil
}

// Close lets others have the log.
func (l *Log) Close() error { return l.lock.Close() }

// has says whether a trial is finished.
func (l *Log) has(s Series, k Kind, number int) bool {
	for _, t := range l.Trials {
		if t.Kind == k && t.Number == number && reflect.DeepEqual(t.Series, s) {
			return true
		}
	}
	return false
}

// add writes a trial down, durably: it took half an hour.
func (l *Log) add(t Trial) error {
	line, err := json.Marshal(t)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(l.name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	l.Trials = append(l.Trials, t)
	return errors.Join(err, f.Sync(), f.Close())
}
