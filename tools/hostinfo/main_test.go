package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"ackline/tools/hostinfo/fingerprint"
)

func TestRun(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		out  string // expected in stdout, or in stderr when the code is not 0
	}{
		{[]string{"--dir", t.TempDir()}, 0, "* kernel"},
		{[]string{"--version"}, 0, "ackline "},
		{[]string{"--help"}, 0, "digest"},
		{[]string{"--dir", "/no/such/directory"}, 2, "hostinfo --help explains"},
		{[]string{"--nonsense"}, 2, "--nonsense"},
	} {
		var out, errs bytes.Buffer
		code := run(context.Background(), c.args, &out, &errs)
		text := out.String()
		if c.code != 0 {
			text = errs.String()
		}
		if code != c.code || !strings.Contains(text, c.out) {
			t.Errorf("%v: exit %d, printed %q %q; want exit %d and %q", c.args, code, out.String(), errs.String(), c.code, c.out)
		}
	}
}

func TestJSON(t *testing.T) {
	var out, errs bytes.Buffer
	if code := run(context.Background(), []string{"--json", "--dir", t.TempDir()}, &out, &errs); code != 0 {
		t.Fatalf("exit %d: %s", code, errs.String())
	}
	var info fingerprint.Info
	if err := json.Unmarshal(out.Bytes(), &info); err != nil {
		t.Fatal(err)
	}
	if err := info.Check(); err != nil {
		t.Error(err)
	}
}
