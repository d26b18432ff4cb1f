package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ackline/tools/reference"
)

func TestUsage(t *testing.T) {
	var out, errOut bytes.Buffer
	if code := run([]string{"--help"}, &out, &errOut); code != 0 || !strings.Contains(out.String(), "go run ./tools/reference/generate .") {
		t.Errorf("--help: %d, %q", code, out.String())
	}
	if code := run(nil, &out, &errOut); code != 2 || !strings.Contains(errOut.String(), "--help") {
		t.Errorf("no folder: %d, %q", code, errOut.String())
	}
	errOut.Reset()
	if code := run([]string{t.TempDir()}, &out, &errOut); code != 1 || !strings.Contains(errOut.String(), "no struct") {
		t.Errorf("a folder that is no tree: %d, %q", code, errOut.String())
	}
}

// TestWrites writes to a tree that has only what is read.
func TestWrites(t *testing.T) {
	dir := t.TempDir()
	for _, folder := range []string{"broker/node/config", "profiles"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join("../../..", folder, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%d sources in %s, %v", len(files), folder, err)
		}
		for _, f := range files {
			content, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, folder, filepath.Base(f)), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	var out, errOut bytes.Buffer
	if code := run([]string{dir}, &out, &errOut); code != 0 {
		t.Fatalf("%d, %s", code, errOut.String())
	}
	if page, err := os.ReadFile(filepath.Join(dir, reference.File)); err != nil || !bytes.Contains(page, []byte("| `ring_bytes` | bytes |")) {
		t.Errorf("%d bytes, %v", len(page), err)
	}
}
