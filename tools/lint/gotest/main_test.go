package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sample has a test of each outcome, in three packages: one that passes with skips, one that fails, one without tests.
var sample = map[string]string{
	"go.mod": "module sample\n\ngo 1.26\n",
	"good/good_test.go": `package good
import "testing"
func TestPasses(t *testing.T) { t.Log("chatty") }
func TestKcat(t *testing.T)   { t.Skip("needs kcat: it reads\nwhat was written") }
func TestSub(t *testing.T)    { t.Run("inner", func(t *testing.T) { t.Skip("too long") }) }
`,
	"bad/bad_test.go": `package bad
import "testing"
func TestPasses(t *testing.T) { t.Log("not to be shown") }
func TestFails(t *testing.T)  { t.Error("three is not four") }
func TestPanics(t *testing.T) { panic("at the wheel") }
`,
	"plain/plain.go": "package plain\n",
	"broken/broken_test.go": `package broken
import "testing"
func TestNothing(t *testing.T) { undefinedName() }
`,
}

func inSample(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range sample {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

func TestRun(t *testing.T) {
	inSample(t)
	tests := []struct {
		name   string
		args   []string
		code   int
		want   []string
		absent []string
	}{
		{"a skip is listed", []string{"--", "./good", "./plain"}, 0, []string{
			"ok  \tsample/good", "?   \tsample/plain\t[no test files]", "tests: 2 passed, 2 skipped, in 1 packages",
			"skipped for want of kcat:\n  sample/good TestKcat: needs kcat: it reads what was written\n",
			"skipped without naming what the machine lacks", "sample/good TestSub/inner: too long",
		}, []string{"FAIL", "chatty", "=== RUN"}},
		{"a skip fails with --strict", []string{"--strict", "--", "./good"}, 1, []string{
			"ok  \tsample/good", "skipped for want of kcat", "FAIL: a skipped test proves nothing",
		}, nil},
		{"a skip that is excepted", []string{"--strict", "--except", "kcat", "--", "-run", "Kcat", "./good"}, 0, []string{
			"0 passed, 1 skipped", "skipped for want of kcat",
		}, []string{"FAIL"}},
		{"one that is excepted and one that is not", []string{"--strict", "--except", "kcat", "--", "./good"}, 1, []string{
			"skipped for want of kcat", "FAIL: a skipped test proves nothing",
		}, nil},
		{"nothing skipped", []string{"--strict", "--", "-run", "Passes", "./good"}, 0, []string{
			"ok  \tsample/good", "1 passed, 0 skipped",
		}, []string{"FAIL", "skipped for"}},
		{"a failure shows what failed", []string{"--", "./bad"}, 1, []string{
			"--- FAIL: TestFails", "three is not four", "panic: at the wheel", "FAIL\tsample/bad", "of which 1 failed",
		}, []string{"not to be shown"}},
		{"a package that does not build", []string{"--", "./broken"}, 1, []string{
			"undefined: undefinedName", "FAIL\tsample/broken [build failed]",
		}, nil},
		{"a flag before --", []string{"-race", "./good"}, 2, []string{"belong behind --"}, nil},
		{"version", []string{"--version"}, 0, []string{"ackline "}, nil},
		{"help", []string{"--help"}, 0, []string{"Example: gotest --strict"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			code := run(context.Background(), tt.args, &out, &errOut)
			out.Write(errOut.Bytes())
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("output lacks %q", want)
				}
			}
			for _, absent := range tt.absent {
				if strings.Contains(out.String(), absent) {
					t.Errorf("output has %q", absent)
				}
			}
			if t.Failed() {
				t.Logf("output:\n%s", &out)
			}
		})
	}
}
