package metasnap

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"testing"

	"ackline/broker/id"
	"ackline/broker/meta"
	"ackline/broker/statemachine"
	"ackline/broker/vfs"
)

func catalogAt(t *testing.T, i id.Index) *meta.Catalog {
	t.Helper()
	m := meta.New(nil)
	for n := range i {
		if _, err := m.Apply(statemachine.Entry{Index: n + 1, Term: 1}); err != nil {
			t.Fatal(err)
		}
	}
	return m.Catalog()
}

func files(t *testing.T, fs vfs.FS) []string {
	t.Helper()
	names, err := fs.List("/m")
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newDir(t *testing.T) (*Dir, *vfs.Mem) {
	fs := vfs.NewMem()
	must(t, vfs.MkdirAllDurable(fs, "/m"))
	return New(fs, "/m"), fs
}

// TestRecordNamesTheFile: what is written is found by what the WAL has of it, here and by whom it is streamed to.
func TestRecordNamesTheFile(t *testing.T) {
	d, _ := newDir(t)
	f, err := d.Write(catalogAt(t, 3), 7, []byte("conf"))
	must(t, err)
	again, err := Parse(f.Payload())
	must(t, err)
	if again.Index != 3 || again.Term != 7 || again.Sum != f.Sum || string(again.Conf) != "conf" {
		t.Fatalf("read back %+v, written %+v", again, f)
	}
	if c, err := d.Load(&again); err != nil || c.Applied() != 3 {
		t.Fatalf("%+v, %v", c, err)
	}
	r, err := d.Open(&again)
	must(t, err)
	to, fs := newDir(t)
	got, err := to.Receive(3, 7, []byte("conf"), r)
	must(t, err)
	must(t, r.Close())
	if !bytes.Equal(got.Payload(), f.Payload()) {
		t.Fatalf("received %+v, sent %+v", got, f)
	}
	for n := range 2 { // from memory, then from the file
		if c, err := New(fs, "/m").Load(&got); err != nil || c.Applied() != 3 {
			t.Fatal(n, err)
		}
		if c, err := to.Load(&got); err != nil || c.Applied() != 3 {
			t.Fatal(n, err)
		}
	}
}

// TestTheFirstVersion has no term in it, and another name.
func TestTheFirstVersion(t *testing.T) {
	d, fs := newDir(t)
	f, err := d.Write(catalogAt(t, 3), 7, []byte("conf"))
	must(t, err)
	b := append([]byte{1}, f.Payload()[1:9]...)
	b = append(append(b, 1, 2, 3, 4), "conf"...)
	must(t, fs.Rename("/m/"+f.name(), "/m/00000000000000000003.snap"))
	old, err := Parse(b)
	must(t, err)
	if c, err := d.Load(&old); err != nil || c.Applied() != 3 || old.Term != 0 || string(old.Conf) != "conf" {
		t.Fatalf("%+v, %v", old, err)
	}
	must(t, d.RemoveOthers(&old))
	if names := files(t, fs); len(names) != 1 {
		t.Fatalf("files %q", names)
	}
	must(t, d.RemoveOld(4))
	if names := files(t, fs); len(names) != 0 {
		t.Fatalf("files %q", names)
	}
	for _, bad := range [][]byte{nil, {1}, append([]byte{3}, make([]byte, 30)...), f.Payload()[:24]} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%x is read", bad)
		}
	}
}

// TestRemoving leaves what may be named.
func TestRemoving(t *testing.T) {
	d, fs := newDir(t)
	var all []File
	for i := range id.Index(4) {
		f, err := d.Write(catalogAt(t, i+1), 1, nil)
		must(t, err)
		all = append(all, f)
	}
	must(t, d.RemoveOld(3))
	if got, want := files(t, fs), []string{all[2].name(), all[3].name()}; !slices.Equal(got, want) {
		t.Fatalf("files %q, want %q", got, want)
	}
	must(t, d.RemoveOthers(&all[2]))
	if got, want := files(t, fs), []string{all[2].name()}; !slices.Equal(got, want) {
		t.Fatalf("files %q, want %q", got, want)
	}
}

// TestSameIndexOtherBytes: a received file does not take the place of one that the WAL may name.
func TestSameIndexOtherBytes(t *testing.T) {
	d, fs := newDir(t)
	mine, err := d.Write(catalogAt(t, 2), 1, nil)
	must(t, err)
	m := meta.New(nil)
	c, err := meta.Encode(meta.Bootstrap{Level: meta.MaxFeatureLevel, ClusterID: "c", Replicas: []meta.Replica{{Node: 1, ID: 1}}})
	must(t, err)
	for i, data := range [][]byte{nil, c} {
		_, err := m.Apply(statemachine.Entry{Index: id.Index(i + 1), Term: 1, Data: data})
		must(t, err)
	}
	var b bytes.Buffer
	must(t, m.Snapshot(&b))
	theirs, err := d.Receive(2, 1, nil, &b)
	must(t, err)
	for what, f := range map[string]*File{"mine": &mine, "theirs": &theirs} {
		got, err := New(fs, "/m").Load(f)
		must(t, err)
		if want := map[string]string{"mine": "", "theirs": "c"}[what]; got.ClusterID() != want {
			t.Errorf("%s is of cluster %q, want %q", what, got.ClusterID(), want)
		}
	}
}

// TestWhatCannotBeRestoredIsRefused, and leaves nothing; damage on the disk is said.
func TestWhatCannotBeRestoredIsRefused(t *testing.T) {
	d, fs := newDir(t)
	var b bytes.Buffer
	must(t, catalogAt(t, 3).Snapshot(&b))
	damaged := bytes.Clone(b.Bytes())
	damaged[len(damaged)/2] ^= 1
	for what, r := range map[string]io.Reader{"damaged": bytes.NewReader(damaged), "cut": bytes.NewReader(b.Bytes()[:b.Len()-1])} {
		if _, err := d.Receive(3, 1, nil, r); err == nil {
			t.Errorf("%s: received", what)
		}
	}
	if _, err := d.Receive(2, 1, nil, bytes.NewReader(b.Bytes())); err == nil {
		t.Error("of another index: received")
	}
	if names := files(t, fs); len(names) != 0 {
		t.Errorf("files %q are left", names)
	}
	f, err := d.Write(catalogAt(t, 3), 1, nil)
	must(t, err)
	file, err := fs.Open("/m/"+f.name(), vfs.OpenOptions{})
	must(t, err)
	_, err = file.WriteAt([]byte{0xAA}, 20)
	must(t, err)
	if c, err := d.Load(&f); err == nil {
		t.Errorf("a damaged file is read: %+v", c)
	}
	f.Index++
	if _, err := d.Load(&f); err == nil {
		t.Error("a missing file is read")
	}
}

func FuzzParse(f *testing.F) {
	whole := File{Index: 1, Term: 2, Sum: 3, Conf: []byte("c")}
	f.Add(whole.Payload())
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := Parse(b); err == nil && !p.plain && !bytes.Equal(p.Payload(), b) {
			t.Errorf("%x is read as %s", b, fmt.Sprint(p))
		}
	})
}
