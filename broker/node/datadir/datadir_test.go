package datadir

import (
	"strings"
	"testing"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

func open(t *testing.T, fs vfs.FS, node int, name string) (*Dir, error) {
	t.Helper()
	d, err := Open(fs, "/data", id.NodeID(node), name)
	if err == nil {
		t.Cleanup(func() { d.Close() })
	}
	return d, err
}

// A node of a cluster keeps its incarnation from its first start on, and what it agreed to.
func TestIncarnationIsKept(t *testing.T) {
	fs := vfs.NewMem()
	d, err := Open(fs, "/data", 1, "c")
	if err != nil || !d.Fresh || d.Cluster != "" || d.Incarnation == 0 {
		t.Fatalf("%+v, %v", d, err)
	}
	first := d.Incarnation
	r := Roster{{1, first}, {2, 5}}
	d.Close()
	if d, err = Open(fs, "/data", 1, "c"); err != nil || d.Incarnation != first || !d.Fresh {
		t.Fatalf("%+v, %v", d, err)
	}
	if err := d.Agree(r); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if d, err = Open(fs, "/data", 1, "c"); err != nil || !d.Roster.Equal(r) || !d.Fresh {
		t.Fatalf("%+v, %v", d, err)
	}
	d.Cluster = r.ClusterID("c")
	if err := d.Save(); err != nil {
		t.Fatal(err)
	}
	d.Close()
	if d, err = Open(fs, "/data", 1, "c"); err != nil || d.Cluster != r.ClusterID("c") || d.Fresh {
		t.Fatalf("%+v, %v", d, err)
	}
	d.Close()
	fs.RemoveAll("/data")
	if d, err = Open(fs, "/data", 1, "c"); err != nil || d.Incarnation == first {
		t.Errorf("an emptied directory has the incarnation it had: %v", err)
	}
	d.Close()
}

// A single node's identity is saved when the rest of its directory is made, and not before.
func TestSingleNode(t *testing.T) {
	fs := vfs.NewMem()
	d, err := Open(fs, "/data", 1, "")
	if err != nil || !d.Fresh || d.Cluster == "" {
		t.Fatalf("%+v, %v", d, err)
	}
	if _, err := fs.Stat("/data/node.json"); err == nil {
		t.Error("the identity is there before what it stands for")
	}
	d.Close()
}

func TestMixUps(t *testing.T) {
	whole := `{"format":1,"cluster_id":"id","cluster_name":"c","node_id":1,"incarnation":7}`
	for _, c := range []struct {
		what, file string
		node       int
		name       string
		want       []string
	}{
		{"another node's", whole, 2, "c", []string{"belongs to node 1", "--node-id 1"}},
		{"another cluster's", whole, 1, "d", []string{`cluster "c"`, `cluster "d"`}},
		{"a cluster's", whole, 1, "", []string{`cluster "c"`, "broker cluster"}},
		{"a single node's", `{"format":1,"cluster_id":"id","node_id":1,"incarnation":7}`, 1, "c", []string{"broker start", `"c"`}},
		{"newer", `{"format":2,"cluster_id":"id","node_id":1,"incarnation":7}`, 1, "", []string{"format 2", "newer"}},
		{"no cluster", `{"format":1,"node_id":1,"incarnation":7}`, 1, "", []string{"make no sense"}},
		{"no incarnation", `{"format":1,"cluster_id":"id","node_id":1}`, 1, "", []string{"incarnation 0"}},
		{"cut off", `{"format":1,`, 1, "", []string{"node.json", "restore"}},
		{"a roster in disorder", `{"format":1,"cluster_name":"c","node_id":1,"incarnation":7,"roster":[{"node_id":2,"incarnation":1},{"node_id":1,"incarnation":7}]}`, 1, "c", []string{"roster"}},
		{"no identity", "", 1, "c", []string{"holds a WAL and no node.json"}},
	} {
		fs := vfs.NewMem()
		fs.MkdirAll("/data")
		name := "/data/node.json"
		if c.file == "" {
			name = "/data/wal.ring"
		}
		if err := vfs.WriteFileAtomic(fs, name, []byte(c.file)); err != nil {
			t.Fatal(err)
		}
		_, err := open(t, fs, c.node, c.name)
		for _, w := range c.want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v; want %q in it", c.what, err, w)
			}
		}
		if _, err := fs.Lock("/data/LOCK"); err != nil {
			t.Errorf("%s: the lock is kept: %v", c.what, err)
		}
	}
	fs := vfs.NewMem()
	if _, err := open(t, fs, 1, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, fs, 1, ""); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second process: %v", err)
	}
}

// The id of a cluster depends on everything that makes it that cluster, and on nothing else.
func TestClusterID(t *testing.T) {
	r := Roster{{1, 10}, {2, 20}}
	if got := r.ClusterID("c"); len(got) != 22 || got != (Roster{{1, 10}, {2, 20}}).ClusterID("c") {
		t.Errorf("%q", got)
	}
	for _, other := range []string{r.ClusterID("d"), Roster{{1, 10}, {2, 21}}.ClusterID("c"), Roster{{1, 10}, {3, 20}}.ClusterID("c"), r[:1].ClusterID("c")} {
		if other == r.ClusterID("c") {
			t.Error("another cluster has its id")
		}
	}
	for _, bad := range []Roster{{{1, 0}}, {{2, 1}, {1, 1}}, {{1, 1}, {1, 2}}, {{-1, 1}}} {
		if bad.Check() == nil {
			t.Errorf("[%v] is a roster", bad)
		}
	}
}
