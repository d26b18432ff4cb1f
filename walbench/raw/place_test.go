package raw

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ackline/broker/vfs"
	"ackline/tools/hostinfo/fingerprint"
)

func TestCheckType(t *testing.T) {
	for _, c := range []struct {
		typ   string
		allow []string
		ok    bool
	}{{"ext4", nil, true}, {"xfs", nil, true}, {"tmpfs", nil, false}, {"overlay", nil, false}, {"overlay", []string{"tmpfs"}, false},
		{"tmpfs", []string{"overlay", "tmpfs"}, true}} {
		err := checkType(fingerprint.Mount{Point: "/mnt", Type: c.typ}, c.allow)
		if (err == nil) != c.ok {
			t.Errorf("%s, allowed %q: %v", c.typ, c.allow, err)
		}
		if err != nil && !strings.Contains(err.Error(), "--allow-fs "+c.typ) {
			t.Errorf("does not say what to do: %v", err)
		}
	}
}

func TestFindPlace(t *testing.T) {
	dir := t.TempDir()
	p, err := FindPlace(dir, pretenders)
	must(t, err)
	if p.FreeBytes <= 0 || p.Mount.Type == "" || !filepath.IsAbs(p.Dir) {
		t.Errorf("%+v", p)
	}
	for _, want := range []string{p.Dir, p.Mount.Type, "GiB free", "write cache"} {
		if !strings.Contains(p.String(), want) {
			t.Errorf("%q is not in\n%s", want, p)
		}
	}
	if _, err := FindPlace(filepath.Join(dir, "no"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	if _, err := FindPlace(file, nil); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a file: %v", err)
	}
}

// TestWritten: the counter rises by what is written durably.
func TestWritten(t *testing.T) {
	p, err := FindPlace(t.TempDir(), pretenders)
	must(t, err)
	before := p.Written()
	if before == 0 {
		t.Skip("needs a disk: there is none with counters below the temporary directory")
	}
	f, err := vfs.OS().Open(filepath.Join(p.Dir, "f"), vfs.OpenOptions{Create: true, Dsync: true})
	must(t, err)
	defer f.Close()
	const n = 1 << 20
	_, err = f.WriteAt(make([]byte, n), 0)
	must(t, err)
	if got := p.Written() - before; got < n {
		t.Errorf("%d bytes written, the disk's counter rose by %d", n, got)
	}
	if (Place{root: os.DirFS("/")}).Written() != 0 {
		t.Error("no disk, and yet it writes")
	}
}

func TestWorkspace(t *testing.T) {
	for name, fs := range map[string]vfs.FS{"os": vfs.OS(), "mem": vfs.NewMem()} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, fs.MkdirAll(dir))
			work, remove, err := Workspace(fs, dir, 1)
			must(t, err)
			if _, _, err := Workspace(fs, dir, 1); !errors.Is(err, vfs.ErrLocked) {
				t.Errorf("two runs at once: %v", err)
			}
			must(t, fs.MkdirAll(filepath.Join(work, "left", "over")))
			must(t, remove())
			if names, _ := fs.List(dir); len(names) != 0 {
				t.Errorf("left behind: %q", names)
			}

			must(t, fs.MkdirAll(filepath.Join(work, "left", "over"))) // a run was killed
			work, remove, err = Workspace(fs, dir, 1)
			must(t, err)
			if names, _ := fs.List(work); len(names) != 1 {
				t.Errorf("the killed run's files are there: %q", names)
			}
			must(t, remove())
			if _, _, err := Workspace(fs, dir, 1<<60); err == nil || !strings.Contains(err.Error(), "GiB free") {
				t.Errorf("too large: %v", err)
			}
			if names, _ := fs.List(dir); len(names) != 0 {
				t.Errorf("left behind after a refusal: %q", names)
			}
		})
	}
	if _, _, err := Workspace(vfs.NewMem(), "no/such", 1); err != nil {
		t.Errorf("a memory file system has every directory: %v", err)
	}
}
