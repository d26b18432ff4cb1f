package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// event is a line of `go test -json`, as `go doc test2json` describes it.
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output and build-fail
	Test       string
	Output     string
}

// line is a piece of a package's output and the test that wrote it, empty for the package itself.
type line struct{ test, text string }

type skip struct{ pkg, test, reason string }

// tally follows the events of one run. A package's output is held until its last event, because only then is it known
// which of its tests failed and so what to show.
type tally struct {
	out      io.Writer
	held     map[string][]line
	ended    map[string]map[string]string // package -> test -> pass, fail or skip
	skips    []skip
	passed   int // tests and subtests
	failed   int // packages
	packages int // with tests
}

func newTally(out io.Writer) *tally {
	return &tally{out: out, held: map[string][]line{}, ended: map[string]map[string]string{}}
}

func (t *tally) read(r io.Reader) error {
	in := bufio.NewReader(r)
	for {
		text, err := in.ReadString('\n')
		if text != "" {
			t.line(text)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// line takes one line of the stream. go test writes plain text there too, when it finds no package to test.
func (t *tally) line(text string) {
	var e event
	if err := json.Unmarshal([]byte(text), &e); err != nil || e.Action == "" {
		fmt.Fprint(t.out, text)
		return
	}
	switch e.Action {
	case "build-output":
		fmt.Fprint(t.out, e.Output)
	case "output":
		t.held[e.Package] = append(t.held[e.Package], line{e.Test, e.Output})
	case "pass", "fail", "skip":
		if e.Test == "" {
			t.packageEnd(e.Package, e.Action)
			return
		}
		if t.ended[e.Package] == nil {
			t.ended[e.Package] = map[string]string{}
		}
		t.ended[e.Package][e.Test] = e.Action
		if e.Action == "pass" {
			t.passed++
		}
		if e.Action == "skip" {
			t.skips = append(t.skips, skip{e.Package, e.Test, t.reason(e.Package, e.Test)})
		}
	}
}

// packageEnd shows of a package what plain go test would: of one that passed its closing line, of one that failed also
// everything that its failed and unfinished tests and the package itself printed.
func (t *tally) packageEnd(pkg, action string) {
	lines := t.held[pkg]
	switch action {
	case "fail":
		t.failed++
		t.packages++
	case "pass":
		t.packages++
	}
	for _, l := range lines {
		if action == "fail" && t.shown(pkg, l) || l.test == "" && closing.MatchString(l.text) {
			fmt.Fprint(t.out, l.text)
		}
	}
	delete(t.held, pkg)
	delete(t.ended, pkg)
}

// closing is go test's last line about a package.
var closing = regexp.MustCompile(`^(ok  |FAIL|\?   )[ \t]`)

// chatter is what -v adds: it names the test that runs, which the test's own lines do too.
var chatter = regexp.MustCompile(`^=== (RUN|PAUSE|CONT|NAME) `)

func (t *tally) shown(pkg string, l line) bool {
	if chatter.MatchString(l.text) || l.test == "" && closing.MatchString(l.text) {
		return false
	}
	end := t.ended[pkg][l.test]
	return end != "pass" && end != "skip"
}

// location is what the testing package writes before a message.
var location = regexp.MustCompile(`^\s*[\w.-]+\.go:\d+: `)

// reason is the text that the test gave to t.Skip: the last of its messages and what follows it.
func (t *tally) reason(pkg, test string) string {
	text := ""
	for _, l := range t.held[pkg] {
		if l.test != test || chatter.MatchString(l.text) || strings.HasPrefix(strings.TrimSpace(l.text), "--- SKIP") {
			continue
		}
		if at := location.FindString(l.text); at != "" {
			text = strings.TrimSpace(l.text[len(at):])
		} else if text != "" {
			text += " " + strings.TrimSpace(l.text)
		}
	}
	return strings.TrimSpace(text)
}

// needs is how a skipped test names what the machine lacks.
var needs = regexp.MustCompile(`^needs ([^:]+): `)

// unexcused counts the skips for other reasons than the lack of these.
func (t *tally) unexcused(excused []string) (n int) {
	for _, s := range t.skips {
		if m := needs.FindStringSubmatch(s.reason); m == nil || !slices.Contains(excused, m[1]) {
			n++
		}
	}
	return n
}

// summary closes a run. fatal: tests were skipped that may not be.
func (t *tally) summary(fatal bool) {
	fmt.Fprintf(t.out, "tests: %d passed, %d skipped, in %d packages with tests, of which %d failed\n",
		t.passed, len(t.skips), t.packages, t.failed)
	if len(t.skips) == 0 {
		return
	}
	byNeed := map[string][]skip{}
	for _, s := range t.skips {
		name := ""
		if m := needs.FindStringSubmatch(s.reason); m != nil {
			name = m[1]
		}
		byNeed[name] = append(byNeed[name], s)
	}
	names := []string{}
	for name := range byNeed {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if name == "" {
			fmt.Fprintf(t.out, "skipped without naming what the machine lacks (t.Skip(\"needs NAME: what for\")):\n")
		} else {
			fmt.Fprintf(t.out, "skipped for want of %s:\n", name)
		}
		for _, s := range byNeed[name] {
			fmt.Fprintf(t.out, "  %s %s: %s\n", s.pkg, s.test, s.reason)
		}
	}
	if fatal {
		fmt.Fprintf(t.out, "FAIL: a skipped test proves nothing, so none may be skipped here. Let .ci/run install what is "+
			"missing;\nlong suites are not skipped but cut short unless ACKLINE_NIGHTLY=1 (go doc ./tools/lint).\n")
	}
}
