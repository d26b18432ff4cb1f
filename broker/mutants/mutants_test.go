package mutants

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// root is the module's directory as seen from here.
const root = "../.."

// mutant is one patch.
type mutant struct {
	name string
	what string
	test string // a test function
	pkg  string // the package it is in, as ./path
	file string // what the patch changes, from the module's root
	diff []string
}

// parse reads a patch.
func parse(name, text string) (m mutant, err error) {
	m.name = name
	lines := strings.SplitAfter(text, "\n")
	for i, l := range lines {
		switch key, value, _ := strings.Cut(strings.TrimSpace(l), ": "); {
		case key == "mutant":
			m.what = value
		case key == "test":
			m.test, m.pkg, _ = strings.Cut(strings.TrimSpace(value), " ")
		case strings.HasPrefix(l, "+++ b/"):
			m.file, m.diff = strings.TrimSpace(l[len("+++ b/"):]), lines[i+1:]
		}
		if m.diff != nil {
			break
		}
	}
	if m.what == "" || !strings.HasPrefix(m.test, "Test") || !strings.HasPrefix(m.pkg, "./") || m.file == "" || len(m.diff) == 0 {
		return m, fmt.Errorf("%s: wants the lines 'mutant: …', 'test: TestName ./package', '--- a/FILE' and '+++ b/FILE', then a diff", name)
	}
	return m, nil
}

var hunkHead = regexp.MustCompile(`^@@ -(\d+)(?:,\d+)? \+\d+(?:,\d+)? @@`)

// apply returns src with the diff applied. A hunk may have moved, but its lines must stand in src, once.
func (m *mutant) apply(src string) (string, error) {
	for i := 0; i < len(m.diff); {
		if !hunkHead.MatchString(m.diff[i]) {
			return "", fmt.Errorf("%s: line %q where a hunk should begin", m.name, m.diff[i])
		}
		head := strings.TrimSpace(m.diff[i])
		var old, now strings.Builder
		for i++; i < len(m.diff) && !strings.HasPrefix(m.diff[i], "@@"); i++ {
			l := m.diff[i]
			if l == "" {
				continue
			}
			switch l[0] {
			case ' ':
				old.WriteString(l[1:])
				now.WriteString(l[1:])
			case '\n': // editors cut the blank of an empty line
				old.WriteString(l)
				now.WriteString(l)
			case '-':
				old.WriteString(l[1:])
			case '+':
				now.WriteString(l[1:])
			default:
				return "", fmt.Errorf("%s: line %q in a hunk", m.name, l)
			}
		}
		if n := strings.Count(src, old.String()); n != 1 {
			return "", fmt.Errorf("%s: hunk %s stands %d times in %s: bring the patch up to date", m.name, head, n, m.file)
		}
		src = strings.Replace(src, old.String(), now.String(), 1)
	}
	return src, nil
}

func load(t *testing.T) (all []mutant) {
	t.Helper()
	names, err := filepath.Glob("*.patch")
	if err != nil || len(names) == 0 {
		t.Fatalf("no patches here: %v", err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		m, err := parse(strings.TrimSuffix(name, ".patch"), string(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// mutate returns the file that the mutant changes, and what it becomes.
func (m *mutant) mutate() (file, text string, err error) {
	file, err = filepath.Abs(filepath.Join(root, m.file))
	if err != nil {
		return "", "", err
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return "", "", err
	}
	text, err = m.apply(string(src))
	return file, text, err
}

// Every patch must apply and name a test that exists, so that it is brought along when the code changes.
func TestPatchesApply(t *testing.T) {
	for _, m := range load(t) {
		if _, text, err := m.mutate(); err != nil {
			t.Error(err)
		} else if text == "" {
			t.Errorf("%s leaves nothing of %s", m.name, m.file)
		}
		files, _ := filepath.Glob(filepath.Join(root, m.pkg, "*_test.go"))
		found := false
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			found = found || bytes.Contains(b, []byte("func "+m.test+"(t *testing.T)"))
		}
		if !found {
			t.Errorf("%s: there is no %s in %s", m.name, m.test, m.pkg)
		}
	}
}

// Every mutant must be caught by the test that it names. It takes a build each, so it runs nightly or when asked for.
func TestMutants(t *testing.T) {
	if os.Getenv("ACKLINE_NIGHTLY") == "" && !strings.Contains(flag.Lookup("test.run").Value.String(), "Mutants") {
		t.Log("not asked for: set ACKLINE_NIGHTLY=1 or use -run Mutants")
		return
	}
	for _, m := range load(t) {
		t.Run(m.name, func(t *testing.T) { m.run(t) })
	}
}

func (m *mutant) run(t *testing.T) {
	file, text, err := m.mutate()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	mutated, overlay := filepath.Join(dir, filepath.Base(file)), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {file: mutated}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(mutated, []byte(text), 0o644), os.WriteFile(overlay, replace, 0o644)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "test", "-overlay", overlay, "-count=1", "-timeout=120s", "-vet=off", "-run", "^"+m.test+"$", m.pkg)
	cmd.Dir = root
	// The tests run as in CI: a mutant that only a night finds is not caught.
	cmd.Env = append(os.Environ(), "ACKLINE_NIGHTLY=")
	out, err := cmd.CombinedOutput()
	if verdict := judge(m, out, err); verdict != "" {
		t.Errorf("%s\n%s\n%s", m.what, verdict, tail(out, 2000))
	}
}

// judge tells what is wrong with the result of a mutant's test; "" when the test caught it.
func judge(m *mutant, out []byte, err error) string {
	failed := bytes.Contains(out, []byte("--- FAIL: "+m.test)) || bytes.Contains(out, []byte("\npanic: ")) || bytes.HasPrefix(out, []byte("panic: "))
	switch {
	case err == nil:
		return strconv.Quote(m.test) + " passes: nothing notices this"
	case bytes.Contains(out, []byte("[build failed]")) || bytes.Contains(out, []byte("[setup failed]")):
		return "the mutant does not compile"
	case !failed:
		return fmt.Sprintf("the run failed, but not in %s: %v", m.test, err)
	}
	return ""
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return b[len(b)-n:]
	}
	return b
}

func TestApply(t *testing.T) {
	const src = "one\ntwo\nthree\nfour\nfive\n"
	for _, c := range []struct{ diff, want string }{
		{"@@ -1,3 +1,3 @@\n one\n-two\n+zwei\n three\n@@ -4,2 +4,1 @@\n four\n-five\n", "one\nzwei\nthree\nfour\n"},
		{"@@ -9,3 +9,3 @@\n two\n+and\n three\n", "one\ntwo\nand\nthree\nfour\nfive\n"},
		{"@@ -1,3 +1,3 @@\n one\n-zwei\n three\n", ""},
		{"two\n", ""},
	} {
		m, err := parse("test", "mutant: breaks\ntest: TestX ./x\n\n--- a/f.go\n+++ b/f.go\n"+c.diff)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := m.apply(src); got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q gives %q, %v; want %q", c.diff, got, err, c.want)
		}
	}
	for _, bad := range []string{"", "mutant: x\n+++ b/f.go\n@@", "mutant: x\ntest: TestX\n+++ b/f.go\n@@", "mutant: x\ntest: TestX ./x\n"} {
		if _, err := parse("bad", bad); err == nil {
			t.Errorf("%q was taken for a patch", bad)
		}
	}
}

func TestJudge(t *testing.T) {
	m := &mutant{test: "TestX"}
	for _, c := range []struct {
		out  string
		err  error
		want string
	}{
		{"ok", nil, "passes"},
		{"--- FAIL: TestX (0.1s)\nFAIL", errors.New("exit status 1"), ""},
		{"panic: test timed out", errors.New("exit status 2"), ""},
		{"FAIL x [build failed]", errors.New("exit status 1"), "does not compile"},
		{"no such tool", errors.New("exit status 1"), "not in TestX"},
	} {
		if got := judge(m, []byte(c.out), c.err); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%q, %v is judged %q, want %q", c.out, c.err, got, c.want)
		}
	}
}
