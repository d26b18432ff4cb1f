package ioerr

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"
)

// TestClasses: what an errno means depends on what was asked.
func TestClasses(t *testing.T) {
	for _, c := range []struct {
		err  error
		want []error
		not  []error
	}{
		{Write("write", "f", 0, 1, syscall.ENOSPC), []error{ErrNoSpace, syscall.ENOSPC}, []error{ErrFatal}},
		{Write("write", "f", 0, 1, syscall.EIO), []error{ErrFatal, syscall.EIO}, []error{ErrNoSpace}},
		{Write(OpSync, "f", 0, 0, syscall.ENOSPC), []error{ErrFatal}, []error{ErrNoSpace}},
		{Write(OpSyncDir, "d", 0, 0, syscall.EDQUOT), []error{ErrFatal}, []error{ErrNoSpace}},
		{Write("open", "f", 0, 0, syscall.EMFILE), []error{ErrNoSpace}, []error{ErrFatal}},
		{Fatal("start write-back of", "f", 0, 1, syscall.ENOSPC), []error{ErrFatal, syscall.ENOSPC}, []error{ErrNoSpace}},
		{Read("f", 0, 1, syscall.EIO), []error{syscall.EIO}, []error{ErrFatal, ErrNoSpace, ErrCorrupt}},
		{Open("f", fmt.Errorf("open f: %w", fs.ErrNotExist)), []error{ErrCorrupt}, []error{ErrFatal}},
		{Open("f", syscall.EACCES), []error{syscall.EACCES}, []error{ErrCorrupt}},
		{Corrupt("f", 7, "length", 1, 2), []error{ErrCorrupt}, []error{ErrFatal}},
	} {
		for _, w := range c.want {
			if !errors.Is(c.err, w) {
				t.Errorf("%v does not match %v", c.err, w)
			}
		}
		for _, n := range c.not {
			if errors.Is(c.err, n) {
				t.Errorf("%v matches %v", c.err, n)
			}
		}
	}
}

// TestMessages: an error names the file once, what was asked of it, and where.
func TestMessages(t *testing.T) {
	for _, c := range []struct {
		err  error
		want []string
	}{
		{Write("write", "dir/1.seg", 4096, 10, syscall.EIO), []string{"write dir/1.seg [4096,+10)", "input/output error"}},
		{Write("write", "dir/1.seg", 4096, 10, &fs.PathError{Op: "write", Path: "dir/1.seg", Err: syscall.EIO}), []string{"write dir/1.seg: input"}},
		{Corrupt("dir/1.idx", 7, "length", 1, 2), []string{"dir/1.idx index 7: length: 1 expected, found 2"}},
	} {
		for _, w := range c.want {
			if !strings.Contains(c.err.Error(), w) || strings.Count(c.err.Error(), "dir/1") != 1 {
				t.Errorf("%q, want one file and %q", c.err, w)
			}
		}
	}
}
