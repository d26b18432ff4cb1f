package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"ackline/dashboards"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	var out, errOut bytes.Buffer
	if code := run(context.Background(), []string{dir}, &out, &errOut); code != 0 || errOut.Len() != 0 {
		t.Fatalf("code %d, %s", code, errOut.String())
	}
	files, err := dashboards.Files()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if got, err := os.ReadFile(filepath.Join(dir, f.Name)); err != nil || !bytes.Equal(got, f.Content) {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	if code := run(context.Background(), nil, &out, &errOut); code != 2 {
		t.Errorf("without a folder: code %d", code)
	}
	if code := run(context.Background(), []string{filepath.Join(dir, "none")}, &out, &errOut); code != 1 {
		t.Errorf("into a folder that is not there: code %d", code)
	}
}
